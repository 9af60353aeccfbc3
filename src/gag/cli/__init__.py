"""The command line: one small file a verb, which parses, calls and prints."""

from __future__ import annotations

from gag.cli.entry import main

__all__ = ["main"]
