"""The metrics of a comparison that need an encoder: loaded when the first text is scored, every score kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from gag.evaluation.bench.config import JudgeConfig
from gag.evaluation.bench.inputs import local_weights
from gag.evaluation.kept import KeptScores
from gag.evaluation.runner import Judge
from gag.evaluation.similarity import load_bertscore, load_similarity
from gag.records import content_hash


class KeptJudge:
    """A judge whose scores are kept in a file under `make` (its configuration); `load` gives it when one is missing."""

    def __init__(self, path: Path, make: str, load: Callable[[], Judge]) -> None:
        self.path, self.make, self.load = path, make, load

    def __call__(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """The judge's scores; raises ModelError where its encoder cannot be used."""
        keys = [content_hash(text, list(accepted)) for text, accepted in zip(predictions, references, strict=True)]
        todo = [i for i, key in enumerate(keys) if key not in self._kept.scores]
        if todo:
            fresh = self._judge([predictions[i] for i in todo], [references[i] for i in todo])
            self._kept.add({keys[i]: score for i, score in zip(todo, fresh, strict=True)})
        return [self._kept.scores[key] for key in keys]

    @cached_property
    def _kept(self) -> KeptScores:
        return KeptScores(self.path, self.make)

    @cached_property
    def _judge(self) -> Judge:
        return self.load()


def judges(config: JudgeConfig, folder: Path) -> Mapping[str, Judge]:
    """`bertscore` and `sts` by name, their scores kept in `folder`, so that a second run loads no encoder."""

    def bertscore() -> Judge:
        return load_bertscore(config.encoder, layer=config.layer, max_tokens=config.max_tokens).f1

    def sts() -> Judge:
        return load_similarity(config.encoder, max_length=config.max_tokens)

    make = content_hash(config.model_dump(), local_weights(config.encoder.source))[:24]
    return {
        name: KeptJudge(folder / f"{name}.jsonl", make, load) for name, load in (("bertscore", bertscore), ("sts", sts))
    }
