"""Which part of a benchmark's prompt is the question that is routed."""

from __future__ import annotations

import re

_CUE_BEFORE = re.compile(r"^\s*(?:question|q|query|problem|input|instruction)\s*\d*\s*[:.]\s*", re.IGNORECASE)
_CUE_AFTER = re.compile(r"\s*(?:the )?(?:final )?(?:answer|a|response|output|solution)\s*:?\s*$", re.IGNORECASE)


def routed_text(prompt: str, separator: str = "\n\n") -> str:
    """The last block of a prompt, without a leading "Question:" and a trailing "Answer:"; the prompt if that is empty.

    Blocks are parted by `separator` (blank lines, as the harness parts its few-shot examples); an empty separator takes
    the whole prompt.
    """
    blocks = prompt.strip().split(separator) if separator else [prompt]
    for block in reversed(blocks):
        text = _without_cues(block)
        if any(c.isalnum() for c in text):
            return text
    return prompt.strip() or prompt


def _without_cues(block: str) -> str:
    lines = block.strip().split("\n")
    if _CUE_AFTER.fullmatch(lines[-1]):
        lines = lines[:-1]
    return _CUE_BEFORE.sub("", "\n".join(lines)).strip()
