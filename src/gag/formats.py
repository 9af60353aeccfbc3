"""Training examples as other tools read them: Alpaca and ShareGPT with LLaMA-Factory's dataset_info, TRL's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gag.prompts import Message, Untrusted

DATASET_INFO = "dataset_info.json"
"""The file in which LLaMA-Factory looks a data set up by its name."""


def texts_by_role(messages: Sequence[Message]) -> dict[str, str]:
    """What each role says; the prompts of this package have each role once."""
    return {message.role: "".join(_text(part) for part in message.parts) for message in messages}


def alpaca_row(messages: Sequence[Message], answer: str) -> dict[str, str]:
    """One example as Alpaca writes it, with the system message in a column of its own."""
    texts = texts_by_role(messages)
    return {"system": texts.get("system", ""), "instruction": texts["user"], "input": "", "output": answer}


def alpaca_info(file: str) -> dict[str, Any]:
    """The entry of dataset_info.json for a file of `alpaca_row`s."""
    columns = {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}
    return {"file_name": file, "formatting": "alpaca", "columns": columns}


def sharegpt_row(messages: Sequence[Message], answer: str) -> dict[str, Any]:
    """One example as a ShareGPT conversation of two turns, with the system message beside it."""
    texts = texts_by_role(messages)
    turns = [{"from": "human", "value": texts["user"]}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, "system": texts.get("system", "")}


def sharegpt_info(file: str) -> dict[str, Any]:
    """The entry of dataset_info.json for a file of `sharegpt_row`s."""
    columns = {"messages": "conversations", "system": "system"}
    return {"file_name": file, "formatting": "sharegpt", "columns": columns}


def prompt_completion_row(messages: Sequence[Message], answer: str) -> dict[str, Any]:
    """One example as TRL's conversational prompt and completion, of which it trains the completion only."""
    prompt = [{"role": message.role, "content": texts_by_role([message])[message.role]} for message in messages]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}


def _text(part: object) -> str:
    return part.text if isinstance(part, Untrusted) else str(part)
