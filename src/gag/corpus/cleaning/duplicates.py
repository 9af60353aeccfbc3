"""Documents that say the same: exact copies by their text's hash, near ones by MinHash and then by their shingles.

Candidates share a band of MinHash values; a band is loaded at a time, so that memory does not grow with the signatures.
What is a copy is decided by the exact Jaccard similarity of 5-word shingles, against earlier documents only.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

SHINGLE = 5
"""Words."""

PERMUTATIONS = 125
ROWS = 5
BANDS = PERMUTATIONS // ROWS
"""25 bands of 5: two texts that share 0.8 meet in one with probability 0.99995, at 0.6 with 0.87."""

MOST = 8
"""Earlier documents of one band that a document is compared with."""

_WORD = re.compile(
    r"\d+(?:[.,:/-]\d+)+|\w+|(?<!\w)-(?=\s?\.?\d)|(?<=\w)-(?![\w-])|(?<=\w)#"
    r"|[^\w\s.,;:!?…'\"“”‘’„‚‹›«»()\[\]{}|*`#•·\\。、「」『』【】《》〈〉-]"
)
"""A number, a word, or a sign that is no mark of a sentence or of Markdown: -5, <, +, %, the # of C#."""

_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-"))


def shingles(text: str) -> set[str]:
    """The 5-word pieces of `text`, small; the whole where it is shorter. A sign is a word."""
    words = _words(text)
    if len(words) < SHINGLE:
        return {" ".join(words)}
    return {" ".join(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}


def similarity(one: set[str], other: set[str]) -> float:
    """Jaccard: what both have of what either has."""
    both = len(one & other)
    return both / (len(one) + len(other) - both) if both else 0.0


def text_digest(text: str) -> str:
    """sha256 of the text's words and signs, so that white space, case and sentence marks do not hide an exact copy."""
    return hashlib.sha256(" ".join(_words(text)).encode("utf-8", "replace")).hexdigest()


def bands(text: str) -> bytes:
    """The MinHash of `text` as `BANDS` hashes of 8 bytes, one a band."""
    from datasketch import MinHash

    pieces = [piece.encode("utf-8", "replace") for piece in shingles(text)]
    sketch = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
    sketch.update_batch(pieces)
    values = np.asarray(sketch.hashvalues, dtype="<u8").reshape(BANDS, ROWS)
    return b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in values)


def near_copies(
    band: Callable[[int], np.ndarray], text_of: Callable[[int], str], least: float, known: Iterable[int] = ()
) -> Iterator[tuple[int, int, float]]:
    """(copy, earlier, similarity) for each document that shares `least` with an earlier one that is no copy itself.

    `band(n)` gives band n of all documents as uint64, `text_of` a document's text; `known` are copies already.
    """
    candidates = _candidates(band)
    copies = set(known)
    for number in sorted(candidates.keys() - copies):
        mine = shingles(text_of(number))
        best = (0.0, -1)
        for earlier in sorted(candidates[number] - copies):
            best = max(best, (similarity(mine, shingles(text_of(earlier))), -earlier))
        if best[0] >= least:
            copies.add(number)
            yield number, -best[1], best[0]


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).translate(_DASHES).casefold())


def _candidates(band: Callable[[int], np.ndarray]) -> dict[int, set[int]]:
    """For each document the earlier ones that share a band with it."""
    found: dict[int, set[int]] = {}
    for number in range(BANDS):
        keys = band(number)
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        starts = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        for start, end in starts.reshape(-1, 2).tolist():
            _add(found, order[start : end + 1].tolist())
    return found


def _add(found: dict[int, set[int]], group: Sequence[int]) -> None:
    """Every member with the first few of its group and the few before it."""
    for at, number in enumerate(group[1:], 1):
        found.setdefault(number, set()).update(group[: min(at, MOST)], group[max(0, at - MOST) : at])
