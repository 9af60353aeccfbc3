"""A part of the configuration: frozen, unknown keys refused."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Section(BaseModel):
    """A frozen part of the configuration.

    Keys in `later` were added when there were users already. They are not written out while they have their default,
    which does what was done before them, so that what was made then keeps the key of its step.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False, validate_default=True
    )
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = handler(self)
        defaults = {key: type(self).model_fields[key].default for key in self.later}
        return {k: value for k, value in tree.items() if k not in defaults or getattr(self, k) != defaults[k]}
