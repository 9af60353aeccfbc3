"""The commented gag.yaml parses back to what it came from, and the reference page is current."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from gag.config import Config, DomainConfig, load_config, parse_config, preset_names
from gag.workspace_file import commented_yaml, configuration_markdown, main

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
WITH_DOMAINS = {
    "domains": {
        "lab-2": {"field": "a: # {x}\n'\"", "style": "Übrig, 水.", "qa": "qa.jsonl"},
        "7": {"settings": {"expert": {"epochs": 2}, "prompts": {"expert_user": "a: # {question}"}}},
        "null": {"field": "1e5"},
    },
    "expert": {"lora_targets": ["q_proj", "v_proj"]},
    "readout": {"clamp": 1e-9, "layers": [-1, 0]},
}


def leaves(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of every key that is not a section itself."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
        names += leaves(kind, f"{prefix}{name}.") if is_section else [f"{prefix}{name}"]  # type: ignore[arg-type]
    return names


@pytest.mark.parametrize("preset", [None, *preset_names()])
def test_the_commented_file_is_its_configuration(preset: str | None, tmp_path: Path) -> None:
    config = load_config(preset=preset)
    path = tmp_path / "gag.yaml"
    path.write_text(commented_yaml(config), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize("preset", [None, *preset_names()])
def test_the_file_gives_the_same_keys_to_steps(preset: str | None, tmp_path: Path) -> None:
    """Steps are keyed by the configuration as it prints, in which 0 and 0.0 are two things."""
    config = load_config(preset=preset)
    (tmp_path / "gag.yaml").write_text(commented_yaml(config))
    again = load_config(tmp_path / "gag.yaml")
    assert repr(again.model_dump()) == repr(config.model_dump())


def test_domains_and_odd_texts_survive(tmp_path: Path) -> None:
    config = parse_config(WITH_DOMAINS, origin="test")
    path = tmp_path / "gag.yaml"
    path.write_text(commented_yaml(config), encoding="utf-8")
    assert load_config(path) == config
    assert list(load_config(path).domains) == ["lab-2", "7", "null"]


def test_every_key_is_spelled_out_with_its_meaning_above() -> None:
    text = commented_yaml(Config())
    tree = yaml.safe_load(text)
    for leaf in leaves(Config):
        node = tree
        for name in leaf.split("."):
            node = node[name]
    assert len(leaves(Config)) > 80
    lines = text.splitlines()
    assert all(len(line) <= 120 for line in lines if "#" in line)
    for number, line in enumerate(lines):
        if line.strip() and not line.strip().startswith("#"):
            assert lines[number - 1].strip().startswith("#"), line


def test_the_example_of_a_domain_is_valid() -> None:
    text = commented_yaml(Config())
    before, _, example = text.partition("domains: {}\n")
    example, _, every = example.partition("# Every key of a domain:\n")
    lines = [line.removeprefix("# ") for line in example.splitlines()][1:]
    config = parse_config(yaml.safe_load(before + "domains:\n" + "\n".join(lines)), origin="test")
    assert list(config.domains) == ["adjuvant"]
    assert all(f"#   {key}: " in every for key in DomainConfig.model_fields)


def test_the_reference_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == configuration_markdown(), "run `make docs`"


def test_the_reference_page_lists_every_key_once() -> None:
    page = configuration_markdown()
    for leaf in leaves(Config):
        assert page.count(f"| `{leaf}` |") == 1, leaf
    assert all(f"- `{name}`: " in page for name in preset_names())


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    main([str(tmp_path / "configuration.md")])
    assert (tmp_path / "configuration.md").read_text("utf-8") == configuration_markdown()
    assert len(list(tmp_path.iterdir())) == 1
