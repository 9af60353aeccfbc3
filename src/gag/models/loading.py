"""Base, expert and encoder from a hub id, a local folder or an installed package: frozen, in eval mode, fingerprinted.

Weights are read from safetensors only and no code of a model's own is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import torch
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.import_utils import is_flash_attn_2_available

from gag.config import ModelConfig
from gag.errors import ModelError
from gag.models.device import choose_device, choose_dtype
from gag.models.fingerprint import frozen, identity_fingerprint, weights_checksum
from gag.models.packaged import cache_folder, converted_gguf, package_model, quiet_transformers
from gag.progress import Progress

__all__ = [
    "LoadedModel",
    "cache_folder",
    "choose_device",
    "choose_dtype",
    "frozen",
    "identity_fingerprint",
    "load_causal_lm",
    "load_encoder",
    "load_tokenizer",
    "weights_checksum",
]

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "artifact.metadata"]
HUB_IGNORED = ["original/*", "onnx/*", "openvino/*", "*consolidated*"]


@dataclass(frozen=True)
class LoadedModel:
    """A frozen model with its tokenizer, and where it came from.

    `revision` is the hub's commit (None for local files), `fingerprint` is `identity_fingerprint(model)`, `folder` is
    where the files lie, `dtype_reason` says why this dtype was taken.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str
    revision: str | None
    fingerprint: str
    folder: Path
    dtype_reason: str = ""

    @property
    def placed(self) -> str:
        """The model, its device and dtype, and why this dtype, in words."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        why = self.dtype_reason.removeprefix(f"{dtype}: ")
        return f"{self.source} on {self.model.device} in {dtype}{f' ({why})' if why else ''}"

    def told(self, role: str, on_progress: Progress) -> LoadedModel:
        """The same model, after saying where `role` was put and in which dtype."""
        on_progress("loaded", 1, 1, f"{role} {self.placed}")
        return self


def load_causal_lm(config: ModelConfig, *, root: Path | None = None) -> LoadedModel:
    """A causal language model for base or expert; local paths are relative to `root`. Raises ModelError."""
    return _load(config, root, causal=True)


def load_encoder(config: ModelConfig, *, root: Path | None = None) -> LoadedModel:
    """A text encoder for the router (its last hidden states; no head). Raises ModelError."""
    return _load(config, root, causal=False)


def load_tokenizer(config: ModelConfig, *, root: Path | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, without its weights. Raises ModelError."""
    folder, _ = _resolve(config.source, config.revision, root)
    where = f"The model {config.source}"
    with _said_plainly(where), quiet_transformers():
        return _tokenizer(folder, where)


@dataclass(frozen=True)
class Description:
    """A model's config and tokenizer, and the folder that its files lie in."""

    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    folder: Path


def load_description(config: ModelConfig, *, root: Path | None = None, causal: bool = True) -> Description:
    """What a model is, without its weights in memory.

    Raises ModelError for what loading it would refuse at once: a device, dtype or attention that is not to be had here,
    files that are missing, a model of another kind.
    """
    _where_and_how(config)
    folder, _ = _resolve(config.source, config.revision, root)
    where = f"The model {config.source}"
    if not any(folder.glob("*.safetensors")):
        raise _without_safetensors(where)
    with _said_plainly(where), quiet_transformers():
        return Description(*_description(folder, where, causal=causal), folder)


def _where_and_how(config: ModelConfig) -> tuple[torch.device, torch.dtype, str]:
    """Device, dtype and why this dtype; raises ModelError for what is not to be had here."""
    device = choose_device(config.device)
    dtype, reason = choose_dtype(config.dtype, device)
    if config.attention == "flash_attention_2":
        _check_flash_attention(device, dtype)
    return device, dtype, reason


def _description(folder: Path, where: str, *, causal: bool) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    found = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if causal:
        _check_causal(found, where)
    tokenizer = _tokenizer(folder, where)
    _pad(tokenizer, found, where)
    return found, tokenizer


def _load(config: ModelConfig, root: Path | None, *, causal: bool) -> LoadedModel:
    device, dtype, reason = _where_and_how(config)
    folder, revision = _resolve(config.source, config.revision, root)
    where = f"The model {config.source}"
    with _said_plainly(where), quiet_transformers():
        _, tokenizer = _description(folder, where, causal=causal)
        model = _weights(folder, dtype, config.attention, where, causal=causal)
        torch.nn.Module.to(model, device)
    model.train(False).requires_grad_(False)
    fingerprint = identity_fingerprint(model)
    return LoadedModel(model, tokenizer, config.source, revision, fingerprint, folder, reason)


def _resolve(source: str, revision: str | None, root: Path | None) -> tuple[Path, str | None]:
    """The local folder that holds `source`, and the hub's commit if it came from there."""
    if source.startswith("package:"):
        name, _, file = source.removeprefix("package:").partition("/")
        return package_model(name, file or None), None
    path = (root or Path()) / Path(source).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return converted_gguf(path), None
    if path.is_dir():
        _check_folder(path, source)
        return path, None
    if source.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise ModelError(
            f"The model {source} is not there: no folder {path}.",
            "Name a folder (relative to gag.yaml), a hub id such as owner/name, or package:NAME.",
        )
    return _from_hub(source, revision)


def _from_hub(source: str, revision: str | None) -> tuple[Path, str | None]:
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                source, revision=revision, allow_patterns=HUB_FILES, ignore_patterns=HUB_IGNORED
            )
        )
    except GatedRepoError:
        raise ModelError(
            f"The model {source} is gated on the hub.", "Accept its terms there, then log in: hf auth login"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"The model {source} has no revision {revision!r}.", "Name a branch, tag or commit that it has."
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"The model {source} is neither a local folder nor on the hub.",
            "Check the spelling; a private model needs: hf auth login",
        ) from None
    except Exception as error:  # the hub's client raises whatever its transport does
        raise ModelError(
            f"The model {source} is not in the local cache and the hub cannot be reached ({type(error).__name__}).",
            "Name a local folder or package:NAME, point HF_HOME at a cache that has it, or connect and try again.",
        ) from None
    _check_folder(folder, source)
    commit = folder.name if folder.parent.name == "snapshots" else revision
    return folder, commit


def _check_folder(folder: Path, source: str) -> None:
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise ModelError(
            f"{source} is a PEFT adapter, not a whole model.",
            "Name its base model here, and the adapter's folder as domains.<name>.expert (or gag build --expert); one "
            "of the hub comes into a folder with: hf download NAME --local-dir FOLDER",
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{source} holds no model: config.json is missing.", "Name a folder saved by save_pretrained.")


def _check_causal(config: PreTrainedConfig, where: str) -> None:
    """A causal LM by its type and, where the file says so, by its architecture (a BERT encoder has the type too)."""
    family = type(config)
    named = [str(name) for name in getattr(config, "architectures", None) or []]
    heads = {"ForCausalLM", "LMHeadModel", "ForConditionalGeneration"}
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING or (named and not any(n.endswith(tuple(heads)) for n in named)):
        what = ", ".join(named) or config.model_type
        raise ModelError(f"{where} is no causal language model ({what}).", "Choose a model that generates text.")


def _check_flash_attention(device: torch.device, dtype: torch.dtype) -> None:
    if device.type != "cuda" or dtype == torch.float32:
        kind = str(dtype).removeprefix("torch.")
        raise ModelError(
            f"FlashAttention-2 needs a CUDA device and a half-precision dtype, not {device.type} and {kind}.",
            "Use attention: sdpa.",
        )
    if not is_flash_attn_2_available():
        raise ModelError(
            "FlashAttention-2 is not installed.", "pip install flash-attn --no-build-isolation, or attention: sdpa"
        )


def _tokenizer(folder: Path, where: str) -> PreTrainedTokenizerBase:
    if not any((folder / name).is_file() for name in (*TOKENIZER_FILES, "tokenizer_config.json")):
        raise ModelError(
            f"{where} has no tokenizer: none of {', '.join(TOKENIZER_FILES)} is in {folder}.",
            "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder).",
        )
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"{where} has a tokenizer without a vocabulary: none of {', '.join(TOKENIZER_FILES)} is in {folder}.",
            "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder).",
        )
    return tokenizer


def _weights(folder: Path, dtype: torch.dtype, attention: str, where: str, *, causal: bool) -> PreTrainedModel:
    auto: Any = AutoModelForCausalLM if causal else AutoModel
    model: Any
    model, info = auto.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation=attention,
        trust_remote_code=False,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(info["missing_keys"])
    if missing and not causal and all(name.startswith("pooler.") for name in missing):
        model.pooler = None  # made up at random by the loader, and of no use to a mean of states
        missing = []
    wrong = missing or sorted(str(key) for key in info["mismatched_keys"])
    if wrong:
        raise ModelError(
            f"{where} does not hold all weights of a {type(model).__name__} ({len(wrong)} missing, first {wrong[0]}).",
            "Check that the download is whole and that the model is of the kind asked for.",
        )
    return cast(PreTrainedModel, model)


def _pad(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, where: str) -> None:
    """Pad with the end-of-text token where no pad token is named; the vocabulary stays as it is."""
    if tokenizer.pad_token_id is not None:
        return
    size = len(tokenizer)
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else getattr(config, "eos_token_id", None)
    end = end[0] if isinstance(end, list) else end
    if end is None:
        raise ModelError(
            f"{where} names neither a pad nor an end-of-text token.", "Set eos_token in its tokenizer_config.json."
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    if len(tokenizer) != size or tokenizer.pad_token_id != end:
        raise ModelError(
            f"{where} has the end-of-text token {end}, which its tokenizer does not know.", "Mend its config.json."
        )


@contextmanager
def _said_plainly(where: str) -> Iterator[None]:
    """What the libraries raise about a model's files, as one ModelError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise ModelError(
            f"{where} does not fit the device's memory.", "Choose a smaller model, bfloat16, or device: cpu."
        ) from None
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise _plain_error(where, error) from None
    except (SafetensorError, MemoryError) as error:
        raise _plain_error(where, error) from None


def _plain_error(where: str, error: Exception) -> ModelError:
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return ModelError(f"{where} needs code of its own to run, which is refused.", "Choose a model that does not.")
    if "attention" in text.lower() and "implementation" in text.lower():
        return ModelError(f"{where} does not have this attention implementation.", "Use attention: eager.")
    if "safetensors" in text and "no file named" in text:
        return _without_safetensors(where)
    if isinstance(error, ImportError):
        return ModelError(f"{where} needs a package that is missing: {text[:200]}.", "Install it and try again.")
    return ModelError(
        f"{where} cannot be loaded ({type(error).__name__}: {text[:200]}).",
        "Check that its files are whole: config.json, model.safetensors, tokenizer.json.",
    )


def _without_safetensors(where: str) -> ModelError:
    return ModelError(
        f"{where} has no safetensors weights, and pickled ones are refused.",
        "Convert them where you trust them: model.save_pretrained(folder) writes safetensors.",
    )
