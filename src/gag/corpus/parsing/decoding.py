"""Bytes to text when nobody says how: UTF-8 first, its lines apart where encodings are mixed, then a guess."""

from __future__ import annotations

import codecs
import re

from gag.corpus.parsing.errors import ParseError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w:-]{2,30})""", re.IGNORECASE)


def decoded(data: bytes) -> tuple[str, list[str]]:
    """The text of `data`, and notes on how it was read; raises ParseError for what is no text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding), [] if encoding == "utf-8-sig" else [f"read as {encoding}"]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        if text.count("\0") > 0.01 * len(text):
            return _without_mark(data)
        return text, []
    if data.count(0) > 0.01 * len(data):
        return _without_mark(data)
    declared = _DECLARED.search(data[:4096])
    if declared is not None:
        name = declared[1].decode("ascii")
        if name.lower() not in ("utf-8", "utf8"):
            try:
                return data.decode(name), [f"read as {name}"]
            except (LookupError, UnicodeDecodeError):
                pass
    return _mixed_or_guessed(data)


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise ParseError(f"damaged text: not the {encoding} that its first bytes say") from None


def _without_mark(data: bytes) -> tuple[str, list[str]]:
    """UTF-16 without a mark, told by where its zeros are; else no text."""
    even, odd = data[0:4000:2].count(0), data[1:4000:2].count(0)
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > 10 * (others + 1):
            return _strictly(data, encoding), [f"read as {encoding}"]
    raise ParseError("binary data, not text")


def _mixed_or_guessed(data: bytes) -> tuple[str, list[str]]:
    """UTF-8 with lines of Windows-1252 among it, where some line is UTF-8 for sure; else the likeliest encoding."""
    lines = data.split(b"\n")
    good = [_is_utf8(line) for line in lines]
    sure = sum(ok and not line.isascii() for ok, line in zip(good, lines, strict=True))
    wrong = good.count(False)
    if sure and wrong <= max(1, 2 * sure):
        texts = [line.decode("utf-8" if ok else "cp1252", "replace") for ok, line in zip(good, lines, strict=True)]
        return "\n".join(texts), [f"mixed encodings: {wrong} of {len(lines)} lines read as Windows-1252"]
    if all(byte >= 0xA0 or byte < 0x80 for byte in data[:100_000]) and _mostly_latin(data):
        return data.decode("cp1252", "replace"), ["read as Windows-1252"]
    from charset_normalizer import from_bytes

    found = from_bytes(data[:200_000]).best()
    if found is None:
        raise ParseError("no text encoding fits: binary data, or damaged")
    return data.decode(found.encoding, "replace"), [f"read as {found.encoding} (a guess)"]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mostly_latin(data: bytes) -> bool:
    """Whether most letters are ASCII, as in Western European text."""
    letters = sum(65 <= byte <= 90 or 97 <= byte <= 122 for byte in data[:100_000])
    high = sum(byte >= 0xA0 for byte in data[:100_000])
    return high < 0.5 * letters
