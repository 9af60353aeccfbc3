"""A copy of the base under a fine-tuned adapter: a base like any other, beside the frozen one."""

from __future__ import annotations

from typing import Any

from gag.models.base import Base
from gag.models.expert import Expert


class TunedCopy:
    """The copy of the base that adapters share, as a base that answers through one of them once `switch` was called."""

    def __init__(self, tuned: Expert, source: str, fingerprint: str) -> None:
        self._tuned = tuned
        model: Any = tuned.model
        # The model inside the library's wrapper, which has the adapter's layers: a causal LM like any other.
        self.base = Base(model.get_base_model(), tuned.tokenizer, source=source, fingerprint=fingerprint)

    def switch(self) -> None:
        """Make this adapter the one that the copy answers through."""
        model: Any = self._tuned.model
        model.set_adapter(self._tuned.adapter, inference_mode=True)
