"""Characters as a corpus wants them: ligatures undone, invisible ones gone, every kind of space a space."""

from __future__ import annotations

import re
import unicodedata

_SINGLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160), 173, 8203, 8288, 65279))
_SINGLE |= dict.fromkeys((0xA0, 0x2007, 0x202F, *range(0x2000, 0x2007), *range(0x2008, 0x200B), 0x205F, 0x3000), " ")
_SINGLE |= {0x85: "\n", 0x2028: "\n", 0x2029: "\n", 0x0B: "\n", 0x0C: "\n"}
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_TABLE = _SINGLE | _LIGATURES
_ODD = re.compile("[" + "".join(re.escape(chr(code)) for code in _TABLE) + "\ud800-\udfff]")
_MATH = re.compile(r"\$?\\math(?:cal|bb|bf|rm|frak|it)\{(\w)\}\$?")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of display: they can show a text other than it is. LRM, RLM and ALM stay."""


def plain_characters(text: str) -> str:
    """`text` in NFC without control, invisible and direction-turning characters, ligatures as letters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _ODD.search(text):
        text = re.sub("[\ud800-\udfff]", "\ufffd", text).translate(_TABLE)
    if not text.isascii():
        text = _BIDI.sub("", text)
        text = unicodedata.normalize("NFC", text)
    return _MATH.sub(r"\1", text) if "\\math" in text else text
