"""How a text's token ids become the windows that an encoder reads, and which of their tokens count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Window:
    """One sequence for the model: ids, the positions that others attend to, and those whose vectors are kept."""

    ids: tuple[int, ...]
    attended: tuple[bool, ...]
    kept: tuple[bool, ...]


@dataclass(frozen=True)
class Layout:
    """What is put around a text of one kind, a question or a passage.

    `before` and `after` are the ids around every window and `limit` is the most ids a window has with them. Where
    `own_kept` they keep their vectors too. The ids in `skipped` are read but give no vector. A window shorter than
    `fill_to` is filled up with the id `filler`, whose vectors are kept and which others attend to if `filler_attended`.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    limit: int
    own_kept: bool = False
    skipped: frozenset[int] = frozenset()
    filler: int = 0
    fill_to: int = 0
    filler_attended: bool = False

    @property
    def room(self) -> int:
        """Ids of a text that fit one window."""
        return self.limit - len(self.before) - len(self.after)

    def windows(self, ids: Sequence[int]) -> list[Window]:
        """The windows of a text: as few as hold all its ids, of equal length but for one id; never none."""
        count = max(1, -(-len(ids) // self.room))
        bounds = [part * len(ids) // count for part in range(count + 1)]
        return [self._window(tuple(ids[start:end])) for start, end in pairwise(bounds)]

    def _window(self, own: tuple[int, ...]) -> Window:
        kept = [token not in self.skipped for token in own]
        around = self.own_kept or not own  # an empty text has no other vectors
        filled = max(0, self.fill_to - len(self.before) - len(own) - len(self.after))
        return Window(
            ids=(*self.before, *own, *self.after, *[self.filler] * filled),
            attended=(True,) * (len(self.before) + len(own) + len(self.after)) + (self.filler_attended,) * filled,
            kept=(*[around] * len(self.before), *kept, *[around] * len(self.after), *[True] * filled),
        )
