"""GAG: private, domain-specific knowledge for a frozen large language model (arXiv 2601.08209)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gag.domain import DomainModule, load_module
    from gag.errors import GagError
    from gag.records import Answer, Document, Passage, Question, Route
    from gag.system import GAG

__all__ = ["GAG", "Answer", "Document", "DomainModule", "GagError", "Passage", "Question", "Route", "load_module"]

_HOMES = {
    "GAG": "gag.system",
    "DomainModule": "gag.domain",
    "load_module": "gag.domain",
    "GagError": "gag.errors",
    **dict.fromkeys(("Answer", "Document", "Passage", "Question", "Route"), "gag.records"),
}


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that `import gag` and `gag --help` cost nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gag' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
