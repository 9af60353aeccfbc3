"""Metrics that compare meanings with an encoder: `sts` (sentence vectors) here, and `bertscore` loaded from a config.

Either is a judge: a function of predictions and, for each, its accepted answers. A missing encoder is an error that
names the metric, never a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gag.config import ModelConfig, RouterConfig
from gag.errors import ModelError
from gag.evaluation.bertscore import BertScore
from gag.evaluation.references import check_references
from gag.models.loading import LoadedModel, load_encoder
from gag.routing.encoder import Encoder


class Similarity:
    """Semantic textual similarity: the cosine of two texts' sentence vectors, -1 to 1, by any encoder.

    An encoder is pooled as its own folder says, else by the mean over tokens. A text counts up to the encoder's
    `max_length` tokens. `name` and `fingerprint` say which encoder the numbers are of: they are comparable only so.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.name, self.fingerprint = encoder, encoder.name, encoder.fingerprint

    def __call__(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """The best similarity of each prediction to one of its references; 0 where either text is blank.

        Raises InputError when a prediction has no reference or the two lists differ in length.
        """
        check_references(predictions, references)
        texts = [text for text in (*predictions, *(one for accepted in references for one in accepted)) if text.strip()]
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self.encoder.encode(list(place)).double()
        return [
            max(
                float(vectors[place[said]] @ vectors[place[one]]) if said.strip() and one.strip() else 0.0
                for one in accepted
            )
            for said, accepted in zip(predictions, references, strict=True)
        ]


def load_similarity(config: ModelConfig, *, root: Path | None = None, max_length: int = 512) -> Similarity:
    """`sts` with the encoder of `config`, each text cut at `max_length` tokens. Raises ModelError; names the metric."""
    loaded = _loaded("sts", config, root)
    return Similarity(Encoder.from_loaded(loaded, RouterConfig(max_length=max_length)))


def load_bertscore(
    config: ModelConfig, *, layer: int, root: Path | None = None, max_tokens: int = 510, chunk_tokens: int = 500
) -> BertScore:
    """BERTScore with the encoder of `config` and its hidden_states `layer`; raises ModelError, naming the metric.

    The paper's is allenai/scibert_scivocab_uncased with layer 8. Where the encoder has too few positions for
    `max_tokens` (a text of more is split), what fits is taken.
    """
    loaded = _loaded("bertscore", config, root)
    positions = getattr(loaded.model.config, "max_position_embeddings", None)
    if isinstance(positions, int):
        room = positions - loaded.tokenizer.num_special_tokens_to_add()
        max_tokens = min(max_tokens, max(1, room))
    return BertScore(loaded.model, loaded.tokenizer, layer=layer, max_tokens=max_tokens, chunk_tokens=chunk_tokens)


def _loaded(metric: str, config: ModelConfig, root: Path | None) -> LoadedModel:
    try:
        return load_encoder(config, root=root)
    except ModelError as error:
        raise ModelError(
            f"The metric {metric} needs the encoder {config.source}. {error.message}",
            f"{error.hint} Or leave {metric} out of the metrics.",
        ) from None
