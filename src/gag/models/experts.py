"""The experts of a running system: one shared small model under many adapters, or whole models of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors import SafetensorError

from gag.config import ModelConfig
from gag.errors import ModelError
from gag.models.expert import Expert
from gag.models.loading import LoadedModel, load_causal_lm
from gag.prompts import Prompts


def with_adapter(loaded: LoadedModel, adapter: Path, name: str) -> Any:
    """`loaded` under the PEFT adapter in the folder `adapter`, held in the model's own dtype; raises ModelError."""
    with _misfits(adapter, loaded.source), warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing adapter keys")  # they would be made up at random
        model = PeftModel.from_pretrained(
            loaded.model, str(adapter), adapter_name=name, autocast_adapter_dtype=False, is_trainable=False
        )
    return model.to(loaded.model.dtype).eval()


_Key = tuple[str, str | None, bool]
"""Source, revision, and whether it is used without any adapter."""


class ExpertPool:
    """Loads an expert model once and hands out one Expert a domain; detaching frees the domain's adapter.

    A domain's model is looked for where its module says, then at `config.source`; with `moved` the other way round.
    """

    def __init__(self, config: ModelConfig, root: Path | None = None, *, moved: bool = False) -> None:
        self.config, self.root, self.moved = config, root, moved
        self._shared: dict[_Key, LoadedModel] = {}
        self._wrapped: dict[_Key, Any] = {}
        self._domains: dict[str, _Key] = {}

    def loaded(
        self, source: str, revision: str | None = None, *, bare: bool = False, fingerprint: str | None = None
    ) -> LoadedModel:
        """The model `source`, loaded at first use with this pool's dtype, device and attention; raises ModelError.

        Domains with adapters share one copy; those that use it `bare` share another, which no adapter ever touches.
        With the `fingerprint` of its weights, the pool's own source may take its place, where it holds the same.
        """
        return self._shared[self._found(source, revision, bare, fingerprint)]

    def attach(
        self,
        name: str,
        prompts: Prompts,
        source: str,
        revision: str | None = None,
        adapter: Path | None = None,
        *,
        fingerprint: str | None = None,
    ) -> Expert:
        """The expert of domain `name`: `source` as it is, or under `adapter`; raises ModelError for a misfit."""
        key = self._found(source, revision, adapter is None, fingerprint)
        loaded = self._shared[key]
        if adapter is None:
            self._domains[name] = key
            return Expert(loaded.model, loaded.tokenizer, prompts)
        wrapped, inside = self._wrapped.get(key), _name_inside(name)
        if wrapped is None:
            try:
                wrapped = self._wrapped[key] = with_adapter(loaded, adapter, inside)
            except ModelError:
                del self._shared[key]  # the misfit left layers in it
                raise
        else:
            try:
                with _misfits(adapter, source):
                    found = wrapped.load_adapter(str(adapter), adapter_name=inside, autocast_adapter_dtype=False)
                    if found.missing_keys:
                        raise ValueError(f"it has no {found.missing_keys[0]}")
            except ModelError:
                _delete(wrapped, inside)
                raise
            wrapped.to(loaded.model.dtype).eval()
        self._domains[name] = key
        return Expert(wrapped, loaded.tokenizer, prompts, adapter=inside)

    def forget_unused(self) -> None:
        """Let go of models that no domain uses."""
        used = set(self._domains.values())
        for held in (self._wrapped, self._shared):
            for key in set(held) - used:
                held.pop(key)

    def _found(self, source: str, revision: str | None, bare: bool, fingerprint: str | None) -> _Key:
        """The key of the model, loaded; of other weights than `fingerprint` only where `source` itself holds such."""
        recorded, own = (source, revision, bare), (self.config.source, self.config.revision, bare)
        if fingerprint is None or recorded == own:
            self._load(recorded)
            return recorded
        problem: ModelError | None = None
        before, found = set(self._shared), recorded
        for key in (own, recorded) if self.moved else (recorded, own):
            try:
                if self._load(key).fingerprint == fingerprint:
                    found, problem = key, None
                    break
            except ModelError as error:
                problem = error if key == recorded else problem
        for key in set(self._shared) - before - {found}:  # loaded to be compared, and another
            del self._shared[key]
        if problem is None:
            return found
        raise ModelError(
            problem.message,
            f"Name where it lies now, models.expert.source or expert=…; {own[0]} does not hold these weights.",
        ) from None

    def _load(self, key: _Key) -> LoadedModel:
        if key not in self._shared:
            config = self.config.model_copy(update={"source": key[0], "revision": key[1]})
            self._shared[key] = load_causal_lm(config, root=self.root)
        return self._shared[key]

    def detach(self, name: str) -> None:
        """Forget a domain's expert; a model that no domain uses any more is freed."""
        key = self._domains.pop(name)
        wrapped = self._wrapped.get(key)
        if key not in self._domains.values():
            self._wrapped.pop(key, None)
            self._shared.pop(key, None)
        elif wrapped is not None:
            _delete(wrapped, _name_inside(name))


def _name_inside(domain: str) -> str:
    """The adapter's name in peft, which looks for it in the names of weights: no domain may be found in another's."""
    return f"<{domain}>"


def _delete(wrapped: Any, name: str) -> None:
    others = [other for other in wrapped.peft_config if other != name]
    if len(others) < len(wrapped.peft_config):
        wrapped.set_adapter(others[0])  # the active one cannot go without a warning
        wrapped.delete_adapter(name)


@contextmanager
def _misfits(adapter: Path, source: str) -> Iterator[None]:
    """What the library raises for an adapter that does not fit, as one ModelError."""
    try:
        yield
    except (ValueError, RuntimeError, OSError, KeyError, TypeError, SafetensorError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            f"The adapter {adapter} does not fit the expert model {source}: {reason}.",
            "Use the model it was trained on (models.expert.source); check that its files are whole.",
        ) from None
