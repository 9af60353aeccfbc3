"""A part of the configuration: frozen, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

WHOLE: Mapping[str, bool] = {"whole": True}
"""As `context` of a dump: every key is written out, also one that is off. For trees that others are laid over."""


class Section(BaseModel):
    """A frozen part of the configuration.

    Keys in `later` were added when there were users already. They are not written out while they are off (false, zero,
    empty, or a choice of something that is), so that what was made before there could be any keeps the key of its step.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False, validate_default=True
    )
    later: ClassVar[tuple[str, ...]] = ()

    def off(self, key: str) -> bool:
        """Whether a key of `later` does nothing as it is."""
        return not getattr(self, key)

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        tree: dict[str, Any] = handler(self)
        if isinstance(info.context, Mapping) and info.context.get("whole"):
            return tree
        return {key: value for key, value in tree.items() if key not in self.later or not self.off(key)}
