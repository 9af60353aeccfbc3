"""Terms of a graph as N-Triples text, which SPARQL reads too, and what they are called for people.

An entity of a plain table becomes an IRI with its name percent-encoded, so that no name (spaces, quotes, pipes, any
script) can end a term early or be read as something else, and the name can be had back from the IRI alone.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from gag.errors import InputError, RunError

ENTITY = "urn:gag:entity:"
RELATION = "urn:gag:relation:"
BLANK = "urn:gag:blank:"

INVERSE = "^"
"""Before a relation's name: the relation walked backwards (SPARQL writes inverse paths so)."""

LABELS = (
    "http://www.w3.org/2000/01/rdf-schema#label",
    "http://www.w3.org/2004/02/skos/core#prefLabel",
    "http://schema.org/name",
    "https://schema.org/name",
    "http://xmlns.com/foaf/0.1/name",
)
ALIASES = (
    "http://www.w3.org/2004/02/skos/core#altLabel",
    "http://schema.org/alternateName",
    "https://schema.org/alternateName",
)
"""Properties of RDF data that give an entity its name, and further names; none of them is a relation to walk."""

_NOT_IN_IRI = re.compile(r'[\x00-\x20<>"{}|^`\\]')
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_TO_ESCAPE = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def entity_term(label: str) -> str:
    """The term of an entity known by its name alone."""
    return f"<{ENTITY}{quote(label, safe='')}>"


def relation_term(name: str) -> str:
    """The term of a relation known by its name alone."""
    return f"<{RELATION}{quote(name, safe='')}>"


def iri_term(iri: str, origin: str) -> str:
    """An IRI that came from outside as a term; raises RunError for one that no query could hold."""
    if not iri or _NOT_IN_IRI.search(iri):
        raise RunError(f"{origin} names {iri!r:.80}, which is no IRI.", "Mend the data there, or ask another endpoint.")
    return f"<{iri}>"


def literal_term(value: str, language: str | None = None, datatype: str | None = None) -> str:
    """A literal as a term."""
    text = "".join(_TO_ESCAPE.get(character, character) for character in value)
    if language:
        return f'"{text}"@{language}'
    if datatype and datatype != "http://www.w3.org/2001/XMLSchema#string":
        return f'"{text}"^^<{datatype}>'
    return f'"{text}"'


def is_literal(term: str) -> bool:
    """Whether a term is a literal, which can only be an object."""
    return term.startswith('"')


def literal_value(term: str) -> tuple[str, str]:
    """A literal's text and its language ('' without one)."""
    end = term.rindex('"')
    language = term[end + 2 :] if term[end + 1 : end + 2] == "@" else ""
    return _ESCAPE.sub(_unescaped, term[1:end]), language


def label_of(term: str) -> str:
    """What a term says of itself: a literal's text, a table's name, or an IRI's last part."""
    if is_literal(term):
        return literal_value(term)[0]
    iri = term[1:-1]
    for scheme in (ENTITY, RELATION):
        if iri.startswith(scheme):
            return unquote(iri[len(scheme) :])
    last = re.split(r"[/#:]", iri.rstrip("/#:"))[-1]
    return " ".join(unquote(last).replace("_", " ").split()) or iri


def relation_label(term: str) -> str:
    """The name of a relation: as a table gives it, else the last part of its IRI as it stands there."""
    iri = term[1:-1]
    if iri.startswith(RELATION):
        return unquote(iri[len(RELATION) :])
    return unquote(re.split(r"[/#:]", iri.rstrip("/#:"))[-1]) or iri


def check_relation_name(name: str, where: str) -> str:
    """`name` if a path can be written with it; raises InputError."""
    if name.startswith(INVERSE) or any(ord(character) < 32 for character in name):
        raise InputError(
            f"{where}: the relation {name!r:.60} cannot be written in a path.",
            f"A relation's name has no control characters and does not begin with {INVERSE} (the inverse).",
        )
    return name


def inverse(relation: str) -> str:
    """The same relation walked the other way."""
    return relation.removeprefix(INVERSE) if relation.startswith(INVERSE) else INVERSE + relation


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _ESCAPED.get(match[3], match[3])
