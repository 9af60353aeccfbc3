"""From messages to token ids: the tokenizer's chat template, in pieces around slots and untrusted text.

Template text is tokenised with special tokens recognised; untrusted text never is. A question without any marker is
tokenised together with the template around it, so that a prompt is exactly what `apply_chat_template` gives.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from gag.errors import InputError, ModelError
from gag.prompts import Message, Part, Slots, Untrusted
from gag.records import Question


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt and the positions that injected vectors fill (ids there are only place holders)."""

    ids: tuple[int, ...]
    slots: tuple[int, ...] = ()


def encode(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> EncodedPrompt:
    """The prompt that asks for the assistant's answer to `messages`; raises ModelError for an unusable template."""
    ids: list[int] = []
    slots: list[int] = []
    run: list[str | Untrusted] = []
    if tokenizer.chat_template is None and _adds_bos(tokenizer):
        ids.append(tokenizer.bos_token_id)
    for part in _rendered(messages, tokenizer):
        if isinstance(part, Slots):
            ids += _encode_run(run, tokenizer)
            run = []
            slots += range(len(ids), len(ids) + part.count)
            ids += [_filler(tokenizer)] * part.count
        else:
            run.append(part)
    ids += _encode_run(run, tokenizer)
    return EncodedPrompt(tuple(ids), tuple(slots))


def encode_answer(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids of an answer as the assistant would write it, closed by the token that ends its turn."""
    return [*_encode_run([Untrusted(text)], tokenizer), turn_end(tokenizer)]


def fitted_answer(question: Question, tokenizer: PreTrainedTokenizerBase, *, room: int, truncate: bool) -> list[int]:
    """Ids of the question's first answer, cut to `room` tokens only if `truncate`; raises InputError otherwise."""
    answer = encode_answer(question.answers[0], tokenizer)
    if len(answer) <= room:
        return answer
    if room < 1:
        raise InputError(
            f"Question {question.id!r} alone is longer than max_length or the model's context.",
            "Shorten it, or raise max_length where the context allows.",
        )
    if not truncate:
        raise InputError(
            f"The answer of {question.id!r} has {len(answer)} tokens; beside its prompt only {room} fit.",
            "Raise max_length where the context allows, shorten the answer, or set truncate_answers: true.",
        )
    return answer[:room]


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that ends an assistant's turn: what the chat template writes after its text, else end-of-text."""
    if tokenizer.chat_template is not None:
        mark = _mark(())
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": mark}]
        after = str(tokenizer.apply_chat_template(turns, tokenize=False)).partition(mark)[2]
        following = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"] if after.strip() else []
        if following and following[0] in _added_ids(tokenizer):
            return int(following[0])
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {tokenizer.name_or_path!r} has no end-of-text token.",
            "Set eos_token in its tokenizer_config.json.",
        )
    return int(tokenizer.eos_token_id)


def _rendered(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[Part]:
    """The template's output as parts: its own text, and in their places the untrusted texts and slots."""
    kept: list[Part] = []
    texts = [part.text for message in messages for part in message.parts if isinstance(part, Untrusted)]
    mark = _mark(texts)
    turns = []
    for message in messages:
        content = ""
        for part in message.parts:
            if isinstance(part, str):
                content += part
                continue
            before = after = ""
            if isinstance(part, Untrusted):  # its outer white space stays in sight of templates that trim
                before = part.text[: len(part.text) - len(part.text.lstrip())]
                after = part.text[len(part.text.rstrip()) :] if part.text.strip() else ""
                part = Untrusted(part.text.strip())
            content += f"{before}{mark}{len(kept)}{mark}{after}"
            kept.append(part)
        turns.append({"role": message.role, "content": content})
    pieces = re.split(f"{mark}(\\d+){mark}", _apply_template(turns, tokenizer))
    found = [int(number) for number in pieces[1::2]]
    if found != list(range(len(kept))):
        raise ModelError(
            f"The chat template of {tokenizer.name_or_path!r} drops, repeats or reorders message text.",
            "Use a tokenizer whose chat template writes each message once, or one without a template.",
        )
    out: list[Part] = []
    for position, piece in enumerate(pieces):
        if position % 2:
            out.append(kept[int(piece)])
        elif piece:
            out.append(piece)
    return out


def _apply_template(turns: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    if tokenizer.chat_template is None:
        return "\n\n".join(turn["content"] for turn in turns) + "\nAnswer:"
    try:
        return _template_text(turns, tokenizer)
    except TemplateError:
        if turns[0]["role"] != "system" or len(turns) < 2:
            raise ModelError(
                f"The chat template of {tokenizer.name_or_path!r} cannot render a user message.",
                "Mend the template, or remove it to use the plain one.",
            ) from None
    # Some families (Gemma 2, early Mistral) refuse a system role: it then opens the user's message.
    joined = {"role": "user", "content": turns[0]["content"] + "\n\n" + turns[1]["content"]}
    return _apply_template([joined, *turns[2:]], tokenizer)


def _template_text(turns: list[dict[str, str]], tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False))


def _encode_run(run: Sequence[str | Untrusted], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of consecutive texts; whole when that recognises the template's own markers and no others."""
    if not run:
        return []
    whole = _ids("".join(part if isinstance(part, str) else part.text for part in run), tokenizer)
    added = _added_ids(tokenizer)
    own = [_ids(part, tokenizer) if isinstance(part, str) else None for part in run]
    if [i for i in whole if i in added] == [i for ids in own if ids is not None for i in ids if i in added]:
        return whole
    out: list[int] = []
    for part, ids in zip(run, own, strict=True):
        out += ids if ids is not None else _plain_ids(part.text if isinstance(part, Untrusted) else part, tokenizer)
    return out


def _plain_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of `text` with no added token recognised: every marker in it is cut after its first character."""
    added = _added_ids(tokenizer)
    ids = [i for piece in _marker_pieces(text, tokenizer) for i in _ids(piece, tokenizer)]
    if any(i in added for i in ids):
        ids = [i for character in text for i in _ids(character, tokenizer)]
    if any(i in added for i in ids):
        raise InputError(
            f"The text {text!r:.60} holds a character that this tokenizer reserves for itself.", "Rephrase it."
        )
    return ids


def _marker_pieces(text: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    markers = sorted((m for m in tokenizer.get_added_vocab() if len(m) > 1), key=len, reverse=True)
    if not markers:
        return [text]
    pieces, start = [], 0
    for match in re.finditer("(?=" + "|".join(re.escape(m) for m in markers) + ")", text, re.IGNORECASE):
        pieces.append(text[start : match.start() + 1])
        start = match.start() + 1
    return [piece for piece in [*pieces, text[start:]] if piece]


def _ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # A lone surrogate cannot reach the tokenizer's Rust half; it becomes the replacement character.
    clean = text.encode("utf-8", errors="replace").decode("utf-8")
    return list(tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"])


@lru_cache(maxsize=32)
def _added_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    return frozenset(tokenizer.get_added_vocab().values()) | frozenset(tokenizer.all_special_ids)


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer.bos_token_id in tokenizer("x")["input_ids"][:1]


def _filler(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else turn_end(tokenizer))


def _mark(texts: Sequence[str]) -> str:
    """A text that none of `texts` holds."""
    while True:
        mark = f"\x02{secrets.token_hex(8)}\x03"
        if not any(mark in text for text in texts):
            return mark
