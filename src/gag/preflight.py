"""What a build would refuse later, refused before its first training: models, layers, and pairs that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gag.config import Config, ModelConfig
from gag.errors import InputError
from gag.models import chat
from gag.models.expert import check_layers, check_prompt
from gag.models.loading import load_description
from gag.models.sizes import context_of
from gag.prompts import Prompts
from gag.records import Question


def check_ahead(
    config: Config, prompts: Prompts, questions: Sequence[Question], expert: ModelConfig, *, root: Path
) -> None:
    """Refuse what reading states, alignment and prototypes would refuse of these `questions`, without any weights.

    Raises ModelError for a base, expert or encoder that is not there, ConfigError for layers that the expert does not
    have, and InputError, with the question's id, for one that does not fit.
    """
    load_description(config.models.encoder, root=root, causal=False)
    expert_config, expert_tokenizer = load_description(expert, root=root)
    base_config, base_tokenizer = load_description(config.models.base, root=root)
    check_layers(config.readout, expert_config)
    background = config.readout.max_new_tokens if config.readout.mode == "generate" else 0
    longest = min(config.alignment.max_length, context_of(base_config) or config.alignment.max_length)
    for question in questions:
        with _about(question):
            read = chat.encode(prompts.expert(question.question), expert_tokenizer)
            check_prompt(read, expert_config, background)
        asked = chat.encode(prompts.domain(question.question, config.readout.slots), base_tokenizer)
        room = longest - len(asked.ids)
        chat.fitted_answer(question, base_tokenizer, room=room, truncate=config.alignment.truncate_answers)


@contextmanager
def _about(question: Question) -> Iterator[None]:
    """Name the question in what is raised about it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"Question {question.id!r}: {error.message}", error.hint) from None
