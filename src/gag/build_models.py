"""The models of a build: the frozen base, what a domain's expert is on, and the encoder, each loaded when first needed.

Where each is held and in which dtype is said once.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gag.config import ModelConfig
from gag.errors import ModelError
from gag.models.base import Base
from gag.models.expert import Expert
from gag.models.experts import with_adapter
from gag.models.loading import LoadedModel, load_causal_lm, load_encoder
from gag.progress import Progress, silent
from gag.prompts import Prompts
from gag.records import content_hash
from gag.routing.encoder import Encoder
from gag.workspace import Workspace


@dataclass(frozen=True)
class TrainedExpert:
    """A domain's expert: the model it is on, its adapter if it has one, and the hash that stands for both."""

    source: str
    revision: str | None
    adapter: Path | None
    key: str


class BuildModels:
    """The models that a workspace's choices name; a `base` that is loaded already may be given."""

    def __init__(self, workspace: Workspace, on_progress: Progress = silent, base: Base | None = None) -> None:
        self.workspace, self.on_progress, self._base = workspace, on_progress, base
        self._placed: set[str] = set()

    @cached_property
    def base_loaded(self) -> LoadedModel:
        """The base's weights and tokenizer."""
        return self.told("base", load_causal_lm(self.workspace.config.models.base, root=self.workspace.root))

    @cached_property
    def base(self) -> Base:
        """The frozen base."""
        return self._base or Base.from_loaded(self.base_loaded)

    @cached_property
    def encoder(self) -> Encoder:
        """The router's encoder."""
        config = self.workspace.config
        loaded = self.told("encoder", load_encoder(config.models.encoder, root=self.workspace.root))
        return Encoder.from_loaded(loaded, config.router)

    def expert(self, expert: TrainedExpert, prompts: Prompts) -> Expert:
        """A domain's expert, ready to read questions."""
        loaded = self._loaded(expert)
        if expert.adapter is None:
            return Expert(loaded.model, loaded.tokenizer, prompts)
        return Expert(with_adapter(loaded, expert.adapter, "expert"), loaded.tokenizer, prompts, adapter="expert")

    def without_adapter(self, expert: TrainedExpert) -> LoadedModel:
        """The model that an expert is on."""
        return self._loaded(expert) if expert.adapter is None else self._small

    def described(self, expert: TrainedExpert) -> ModelConfig:
        """How the configuration would name the model that an expert is on."""
        update = {"source": expert.source, "revision": expert.revision}
        return self.workspace.config.models.expert.model_copy(update=update)

    def existing_expert(self, given: str) -> TrainedExpert:
        """An expert that is there already: an adapter's folder or a whole model. Raises ModelError."""
        models = self.workspace.config.models
        path = self.workspace.path(given)
        if (path / "adapter_config.json").is_file():
            loaded = self._small
            weights = path / "adapter_model.safetensors"
            if not weights.is_file():
                raise ModelError(f"The adapter {path} has no adapter_model.safetensors.", "Save it as safetensors.")
            settings = (path / "adapter_config.json").read_text("utf-8")
            made_on = _made_on(settings)
            other = f", made on {made_on}: is that {models.expert.source}?" if made_on != models.expert.source else ""
            self.on_progress("expert", 1, 1, f"adapter {given}{other if made_on else ''}")
            dtype = str(loaded.model.dtype)
            key = content_hash("adapter", loaded.fingerprint, dtype, settings, weights.read_bytes().hex())
            return TrainedExpert(models.expert.source, loaded.revision, path, key)
        config = models.expert.model_copy(update={"source": given, "revision": None})
        loaded = self.told("expert", load_causal_lm(config, root=self.workspace.root))
        self.on_progress("expert", 1, 1, f"model {given}")
        key = content_hash("model", loaded.fingerprint, str(loaded.model.dtype))
        return TrainedExpert(given, loaded.revision, None, key)

    def told(self, role: str, loaded: LoadedModel) -> LoadedModel:
        """Say once where a model was put and in which dtype."""
        note = f"{role} {loaded.placed}"
        if note not in self._placed:
            self._placed.add(note)
            loaded.told(role, self.on_progress)
        return loaded

    @cached_property
    def _small(self) -> LoadedModel:
        """The shared model that adapters of experts are on."""
        return self.told("expert", load_causal_lm(self.workspace.config.models.expert, root=self.workspace.root))

    def _loaded(self, expert: TrainedExpert) -> LoadedModel:
        return self.told("expert", load_causal_lm(self.described(expert), root=self.workspace.root))


def _made_on(settings: str) -> str | None:
    """The model that an adapter's settings (adapter_config.json) name as its own, if they do."""
    with suppress(ValueError, AttributeError):
        named = json.loads(settings).get("base_model_name_or_path")
        return named if isinstance(named, str) else None
    return None
