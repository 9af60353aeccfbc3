from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from gag.config import ModelConfig, RetrievalConfig
from gag.models.loading import load_encoder
from gag.retrieval.late_interaction import Kind, TokenEncoder
from gag.testing import write_tiny_encoder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
WORDS = [*SPECIAL, ".", ",", "!", "?", "what", "is", "alum", "a", "salt", "of", "metal", "the"]
SETTINGS = {
    "query_token_id": "[unused0]",
    "doc_token_id": "[unused1]",
    "query_token": "[Q]",
    "doc_token": "[D]",
    "query_maxlen": 8,
    "doc_maxlen": 10,
    "dim": 4,
    "mask_punctuation": True,
    "attend_to_mask_tokens": False,
    "similarity": "cosine",
}


class WordVectors:
    """A stand-in for a TokenEncoder: a fixed random unit vector a word, in 16 dimensions; counts what it encodes."""

    name = "words"
    kind: Kind = "encoder"
    dimension = 16

    def __init__(self, seed: int = 0) -> None:
        self.fingerprint = f"{seed}" * 64
        self.encoded: list[str] = []
        self._seed = seed

    def queries(self, texts: Sequence[str]) -> list[Tensor]:
        return [self._vectors(text) for text in texts]

    def passages(self, texts: Sequence[str]) -> list[Tensor]:
        self.encoded += texts
        return [self._vectors(text) for text in texts]

    def _vectors(self, text: str) -> Tensor:
        rows = []
        for word in text.split() or [""]:
            generator = torch.Generator().manual_seed(
                sum(ord(c) * 31**n for n, c in enumerate(word)) % 2**31 + self._seed
            )
            rows.append(torch.randn(self.dimension, generator=generator))
        return normalize(torch.stack(rows), dim=1)


def _write_colbert(folder: Path, *, settings: dict[str, Any] | None = None, projected: bool = True) -> Path:
    """A tiny random checkpoint with the files and names of ColBERTv2's."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=32,
        initializer_range=0.5,
        architectures=["HF_ColBERT"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        bert = BertModel(config)
        with torch.no_grad():
            for parameter in bert.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        projection = torch.randn(4, 8)
    tensors = {f"bert.{name}": tensor.contiguous() for name, tensor in bert.state_dict().items()}
    save_file(tensors | ({"linear.weight": projection} if projected else {}), folder / "model.safetensors")
    config.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    (folder / "artifact.metadata").write_text(json.dumps(SETTINGS if settings is None else settings))
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )


def _load(folder: Path, **choices: Any) -> TokenEncoder:
    loaded = load_encoder(ModelConfig(source=str(folder), dtype="float32", device="cpu"))
    return TokenEncoder.from_loaded(loaded, RetrievalConfig(**choices))


@pytest.fixture
def write_colbert() -> Callable[..., Path]:
    """Writes a tiny random checkpoint with the files and names of ColBERTv2's: 8 dimensions, projected to 4."""
    return _write_colbert


@pytest.fixture
def load() -> Callable[..., TokenEncoder]:
    """The TokenEncoder of a folder, with the RetrievalConfig of the choices given."""
    return _load


@pytest.fixture
def colbert(tmp_path: Path) -> Path:
    """The folder of a tiny ColBERT checkpoint."""
    return _write_colbert(tmp_path / "colbert")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The folder of a tiny sentence encoder, which reads 256 tokens."""
    return write_tiny_encoder(tmp_path / "plain")


@pytest.fixture
def words() -> Callable[..., WordVectors]:
    """Makes a stand-in encoder."""
    return WordVectors
