"""What a build or update would refuse later, refused before its first training: models, layers, and pairs that do not
fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gag.config import Config, ModelConfig
from gag.errors import ConfigError, InputError
from gag.models import chat
from gag.models.expert import check_layers, check_prompt
from gag.models.loading import load_description
from gag.models.sizes import context_of
from gag.prompts import Prompts
from gag.records import Question
from gag.routing.encoder import own_pooling


def check_ahead(
    config: Config, prompts: Prompts, questions: Sequence[Question], expert: ModelConfig, *, root: Path
) -> None:
    """Refuse what reading states and alignment would refuse of these `questions`, without any weights in memory.

    Raises ModelError for a base or expert that cannot be loaded here, ConfigError for layers that the expert does not
    have, and InputError, with the question's id, for one that does not fit.
    """
    reading, base = load_description(expert, root=root), load_description(config.models.base, root=root)
    check_layers(config.readout, reading.config)
    background = config.readout.max_new_tokens if config.readout.mode == "generate" else 0
    longest = min(config.alignment.max_length, context_of(base.config) or config.alignment.max_length)
    for question in questions:
        with _about(question):
            read = chat.encode(prompts.expert(question.question), reading.tokenizer)
            check_prompt(read, reading.config, background)
            asked = chat.encode(prompts.domain(question.question, config.readout.slots), base.tokenizer)
        room = longest - len(asked.ids)
        chat.fitted_answer(question, base.tokenizer, room=room, truncate=config.alignment.truncate_answers)


def check_place(config: Config, modules: Path, *, root: Path) -> None:
    """Refuse what prototypes and the module's folder would: ModelError of the encoder, ConfigError of a file there."""
    own_pooling(load_description(config.models.encoder, root=root, causal=False).folder)
    if modules.exists() and not modules.is_dir():
        raise ConfigError(f"{modules} is a file, where modules should go.", "Move it away.")


@contextmanager
def _about(question: Question) -> Iterator[None]:
    """Name the question in what is raised about it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"Question {question.id!r}: {error.message}", error.hint) from None
