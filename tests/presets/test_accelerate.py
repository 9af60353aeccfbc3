"""The launch files are read by the installed accelerate and mean what they say."""

from __future__ import annotations

from argparse import Namespace
from importlib import resources
from pathlib import Path

import pytest
import yaml
from accelerate.commands import launch

FOLDER = Path(str(resources.files("gag") / "presets" / "accelerate"))
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def launched(name: str) -> Namespace:
    """What `accelerate launch --config_file NAME script.py` would run with."""
    parser = launch.launch_command_parser()
    arguments = parser.parse_args(["--config_file", str(FOLDER / name), "--num_cpu_threads_per_process", "1", "x.py"])
    checked, _, _ = launch._validate_launch_command(arguments)
    assert isinstance(checked, Namespace)
    return checked


def test_the_four_launch_files() -> None:
    assert FILES == ["cpu_two_processes.yaml", "deepspeed_zero2.yaml", "fsdp.yaml", "multi_gpu.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_accelerate_accepts_every_key(name: str) -> None:
    known = set(vars(launch.launch_command_parser().parse_args(["x.py"])))
    tree = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    for section in ("fsdp_config", "deepspeed_config"):
        assert set(tree.get(section, {})) <= known
    arguments = launched(name)
    assert arguments.num_processes == 2
    assert arguments.num_machines == 1


def test_each_file_chooses_its_launcher() -> None:
    fsdp = launched("fsdp.yaml")
    assert fsdp.use_fsdp
    assert (str(fsdp.fsdp_version), fsdp.fsdp_auto_wrap_policy) == ("2", "TRANSFORMER_BASED_WRAP")
    deepspeed = launched("deepspeed_zero2.yaml")
    assert deepspeed.use_deepspeed
    assert (deepspeed.zero_stage, deepspeed.mixed_precision) == (2, "bf16")
    assert launched("multi_gpu.yaml").multi_gpu


def test_the_cpu_file_starts_two_processes_that_see_no_gpu() -> None:
    arguments = launched("cpu_two_processes.yaml")
    assert arguments.multi_gpu
    assert arguments.mixed_precision == "no"
    environment = launch.prepare_multi_gpu_env(arguments)
    assert environment["CUDA_VISIBLE_DEVICES"] == "-1,-1"
    assert arguments.nproc_per_node == "2"
