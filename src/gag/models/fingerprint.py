"""What a model's weights are called, and the proof that a frozen one did not change."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gag.errors import RunError

_ADAPTER_PARTS = {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"}


def identity_fingerprint(model: nn.Module) -> str:
    """sha256 (hex) that names the weights whatever dtype they are held in.

    Over the sorted names, shapes and values rounded to bfloat16 of all parameters, a tied one once. Weights stored in
    float32 or bfloat16 give the same in float32 and bfloat16; held in float16 they are rounded twice and may not.
    A model inside PEFT gives what the bare model gives: wrapper prefixes and LoRA weights are left out.
    """
    named = {_bare_name(n): p for n, p in model.named_parameters() if not _ADAPTER_PARTS & set(n.split("."))}
    return _combined((f"{name} {tuple(p.shape)}", p, True) for name, p in sorted(named.items()))


def weights_checksum(model: nn.Module) -> str:
    """sha256 (hex) of the names, dtypes, shapes and exact bytes of all parameters and persistent buffers."""
    unique: dict[int, tuple[str, Tensor]] = {}
    for name, value in sorted(model.state_dict(keep_vars=True).items()):
        if isinstance(value, Tensor):
            unique.setdefault(id(value), (name, value))
    return _combined((f"{name} {v.dtype} {tuple(v.shape)}", v, False) for name, v in unique.values())


@contextmanager
def frozen(model: nn.Module, what: str) -> Iterator[None]:
    """Raise RunError if the body changed a single byte of `model`, which the message calls `what`.

    An error of the body's own passes through as it is; the weights are then not compared.
    """
    before = weights_checksum(model)
    yield
    check_unchanged(model, before, what)


def check_unchanged(model: nn.Module, before: str, what: str) -> None:
    """Raise RunError where `before` is not the `weights_checksum` of `model`, which the message calls `what`."""
    after = weights_checksum(model)
    if after != before:
        raise RunError(
            f"The weights of {what} changed ({before[:12]} became {after[:12]}) though they are frozen.",
            "Discard what this run made: it does not fit the model on disk. Please report how to repeat this.",
        )


def _bare_name(name: str) -> str:
    """A parameter's name without what PEFT puts around it."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _combined(tensors: Iterable[tuple[str, Tensor, bool]]) -> str:
    """sha256 over one line a tensor, its label and the sha256 of its bytes; a few tensors are hashed side by side."""
    whole = hashlib.sha256()
    workers = min(8, os.cpu_count() or 1)
    waiting = iter(tensors)
    with ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(waiting, 2 * workers)):
            for line in pool.map(_line, some):
                whole.update(line)
    return whole.hexdigest()


def _line(item: tuple[str, Tensor, bool]) -> bytes:
    label, tensor, rounded = item
    values = tensor.detach()
    if rounded and values.is_floating_point():
        values = values.to(torch.bfloat16)
    data: Any = values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{label} {hashlib.sha256(data).hexdigest()}\n".encode()
