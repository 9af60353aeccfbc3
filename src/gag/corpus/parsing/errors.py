"""Why one file could not become a document; it is told of, and the others go on."""

from __future__ import annotations


class ParseError(Exception):
    """A file that cannot be read; `reason` is a short phrase, `scanned` says that reading its pictures might help."""

    def __init__(self, reason: str, *, scanned: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.scanned = scanned
