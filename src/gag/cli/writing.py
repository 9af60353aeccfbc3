"""Models that write training data (`gag synth`, `gag raft data`): agreed to where they cost.

An endpoint is sent nothing before its cost was shown and somebody said yes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gag.cli.output import note, notes
from gag.errors import ConfigError

if TYPE_CHECKING:
    from gag.config import SynthesisConfig


def agree_to(cost: str | None, yes: bool) -> None:
    """Say what will be sent and what it costs (None: nothing); ask unless told not to. Raises ConfigError for a no."""
    if cost is None:
        return
    note(cost)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("Passages would be sent to the endpoint, and nobody is there to ask.", "Add --yes.")
    if notes().input("Go on? [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
        raise ConfigError("Nothing was sent.", "Another writer: --model extractive, --model base.")


def priced(sent: int, received: int, config: SynthesisConfig) -> str:
    """What so many tokens cost at most, or that no price is known."""
    if config.price_in is None or config.price_out is None:
        return "no price is set: synthesis.price_in, synthesis.price_out"
    most = (sent * config.price_in + received * config.price_out) / 1e6
    return f"at most about {most:.2f} by synthesis.price_in and price_out"
