"""What `--model_args` may say to the harness's `gag` model, and the base or system that it then opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, field_validator

from gag.config import Section
from gag.domain import list_modules
from gag.errors import ConfigError, DomainError
from gag.models.base import Base
from gag.models.loading import load_causal_lm
from gag.system import GAG
from gag.workspace import open_workspace


class HarnessArguments(Section):
    """What `--model_args` may say."""

    workspace: str | None = Field(None, description="Folder with gag.yaml; null is $GAG_WORKSPACE or the nearest one.")
    method: Literal["gag", "base"] = Field("gag", description="gag, or the base alone.")
    domains: tuple[str, ...] = Field((), description="Domains to attach, joined by +; none is all of the workspace.")
    route: str | None = Field(None, description="One route for every request, a domain or general; null routes each.")
    separator: str = Field("\n\n", description="What stands between the examples of a few-shot prompt.")
    dtype: str | None = Field(None, description="Overrides models.base.dtype.")
    device: str | None = Field(None, description="Overrides models.base.device.")
    batch_size: int = Field(16, ge=1, description="Prompts computed at once; auto is 16.")
    max_gen_toks: int = Field(256, ge=1, description="Tokens written where a task does not say.")
    max_length: int | None = Field(None, ge=8, description="Tokens of prompt and answer; null is the base's context.")

    @field_validator("domains", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return tuple(name for name in value.split("+") if name) if isinstance(value, str) else value

    @field_validator("batch_size", mode="before")
    @classmethod
    def _automatic(cls, value: Any) -> Any:
        return 16 if str(value).startswith("auto") else value


def harness_arguments(arguments: Mapping[str, Any]) -> HarnessArguments:
    """The arguments checked; raises ConfigError for an unknown one and for a value of the wrong kind."""
    try:
        return HarnessArguments.model_validate({k: v for k, v in arguments.items() if v is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(
            f"--model_args {where}: {problem['msg'].lower()}.", f"Known: {', '.join(HarnessArguments.model_fields)}."
        ) from None


def opened(arguments: HarnessArguments) -> tuple[Base, GAG | None]:
    """The base of the workspace and, for gag, the system with its domains.

    Raises ConfigError where there is no workspace, DomainError where a module is missing or damaged, ModelError.
    """
    device = arguments.device
    if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
        device = None  # the harness says cuda:0 wherever nobody names a device
    chosen = {"dtype": arguments.dtype, "device": device}
    overrides = [f"models.base.{key}={value}" for key, value in chosen.items() if value is not None]
    workspace = open_workspace(arguments.workspace, overrides=overrides)
    if arguments.method == "base":
        return Base.from_loaded(load_causal_lm(workspace.config.models.base, root=workspace.root)), None
    names = arguments.domains or tuple(listed.folder.name for listed in list_modules(workspace.modules))
    if not names:
        raise DomainError(f"{workspace.root} has no domain modules.", "Build one, or take method=base.")
    system = GAG.from_config(workspace.config, [workspace.module(name) for name in names], root=workspace.root)
    return system.base, system
