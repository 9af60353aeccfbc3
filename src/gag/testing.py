"""Public fakes for tests: tiny random models of real families, a byte tokenizer and a tiny encoder.

They are real Hugging Face objects, so a test goes through the same calls as a user; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from gag.config import FILE_NAME, merged

PAD, BOS, IM_START, IM_END, THINK = "<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>", "<think>"
PAD_ID, BOS_ID, IM_START_ID, IM_END_ID, THINK_ID = range(256, 261)
VOCABULARY = 261
"""The 256 bytes (a byte's id is its value) and the five added tokens."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_FAMILIES: dict[str, tuple[type[PreTrainedConfig], type[PreTrainedModel], dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"tie_word_embeddings": True}),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM, {"tie_word_embeddings": True}),
    "mistral": (MistralConfig, MistralForCausalLM, {"tie_word_embeddings": False}),
    "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM, {"tie_word_embeddings": False}),
}
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
"""The kinds of causal language model that `tiny_causal_lm` makes."""

HEADS = 4


def tiny_causal_lm(
    family: str = "llama",
    *,
    hidden_size: int = 32,
    layers: int = 3,
    seed: int = 0,
    sliding_window: int = 512,
    max_positions: int = 4096,
) -> PreTrainedModel:
    """A random model of `family` in float32 and eval mode whose vocabulary is `byte_tokenizer`'s.

    Grouped-query attention (4 heads, 2 for keys and values) where the family has it; `sliding_window` tokens in every
    layer of mistral and every other one of gemma3. The global random state is left as it was.
    Raises KeyError for an unknown family and ValueError for a `hidden_size` that is not a multiple of 8.
    """
    if hidden_size % (2 * HEADS):
        raise ValueError(f"hidden_size must be a multiple of {2 * HEADS}, not {hidden_size}")
    config_type, model_type, choices = _FAMILIES[family]
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "max_position_embeddings": max_positions,
        "initializer_range": 0.2,
        "bos_token_id": BOS_ID,
        "eos_token_id": IM_END_ID,
        "pad_token_id": PAD_ID,
    }
    if family != "gpt_neox":
        shape |= {"num_key_value_heads": HEADS // 2, "head_dim": hidden_size // HEADS}
    if family in ("mistral", "gemma3"):
        shape["sliding_window"] = sliding_window
    if family == "gemma3":
        shape["query_pre_attn_scalar"] = hidden_size // HEADS
        shape["layer_types"] = [("sliding_attention", "full_attention")[n % 2] for n in range(layers)]
    model = _randomised(model_type, config_type(**shape, **choices), seed)
    assert model.generation_config is not None
    model.generation_config.update(bos_token_id=BOS_ID, eos_token_id=IM_END_ID, pad_token_id=PAD_ID)
    return model


def byte_tokenizer(chat_template: bool = True) -> PreTrainedTokenizerFast:
    """One token a UTF-8 byte, five added tokens, lossless in decoding; left padding, no bos added, eos is <|im_end|>.

    `<think>` is an added token that is not special, as in Qwen3: skipping special tokens does not skip it.
    `chat_template` False gives a tokenizer without one, as base models often have.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    shifted = [byte for byte in range(256) if chr(byte) not in letters]
    letter_of = {byte: chr(byte) for byte in range(256)} | {byte: chr(256 + n) for n, byte in enumerate(shifted)}
    tokenizer = Tokenizer(models.BPE(vocab={letter: byte for byte, letter in letter_of.items()}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    for name in (PAD, BOS, IM_START, IM_END):
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(THINK, special=False, normalized=False)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=IM_END,
        additional_special_tokens=[IM_START],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    if chat_template:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_encoder(seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A random BERT of width 32 with a lower-casing letter-by-letter WordPiece tokenizer; eval mode, float32."""
    added = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [*added, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=256,
    )
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=64,
        max_position_embeddings=256,
        initializer_range=0.2,
        pad_token_id=0,
    )
    return _randomised(BertModel, config, seed), fast


def write_tiny_model(folder: str | Path, family: str = "llama", seed: int = 0) -> Path:
    """Save `tiny_causal_lm` and `byte_tokenizer` to `folder` for the Auto classes; returns the folder."""
    folder = Path(folder)
    tiny_causal_lm(family, seed=seed).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def write_tiny_encoder(folder: str | Path, seed: int = 0) -> Path:
    """Save `tiny_encoder` to `folder` for the Auto classes; returns the folder."""
    folder = Path(folder)
    model, tokenizer = tiny_encoder(seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tiny_workspace(root: str | Path, **sections: Any) -> Path:
    """A workspace in `root`: a tiny base, expert and encoder, quick choices, and `sections` of gag.yaml over them."""
    root = Path(root)
    write_tiny_model(root / "base", "qwen2", seed=1)
    write_tiny_model(root / "small", "llama", seed=2)
    write_tiny_encoder(root / "encoder")
    sources = {"base": "base", "expert": "small", "encoder": "encoder"}
    quick = {
        "models": {role: {"source": name, "dtype": "float32", "device": "cpu"} for role, name in sources.items()},
        "expert": {"epochs": 1, "batch_size": 4, "lora_rank": 2, "lora_alpha": 4},
        "readout": {"pooling": "segment_mean", "slots": 2, "max_new_tokens": 3, "batch_size": 4},
        "alignment": {"epochs": 1, "batch_size": 4, "dev_share": 0.25, "checkpoint_every": 1},
        "router": {"prototypes": 3, "general_questions": "general.jsonl"},
    }
    (root / FILE_NAME).write_text(yaml.safe_dump(merged(quick, sections)), encoding="utf-8")
    return root


def _randomised(model_type: type[PreTrainedModel], config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """A model with random weights, biases and norms too, so that no test passes because one of them is zero or one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_type(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.eval()
    return model
