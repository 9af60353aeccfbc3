"""What a model's config says of its text part: how many tokens it holds, its layers, and what each of them sees."""

from __future__ import annotations

from transformers import PreTrainedConfig

_CONTEXT = ("max_position_embeddings", "max_seq_len")
_NOT_PLAIN = ("sliding_window", "window_size", "attention_layers", "attn_config", "alibi")


def context_of(config: PreTrainedConfig) -> int | None:
    """Tokens the model can hold, prompt and answer together; None where its config does not say."""
    text = config.get_text_config()
    said = [getattr(text, name, None) for name in _CONTEXT]
    return next((int(size) for size in said if size), None)


def layers_of(config: PreTrainedConfig) -> int:
    """How many layers it has; a readout counts the embeddings as hidden state 0."""
    return int(config.get_text_config().num_hidden_layers)


def plain_attention(config: PreTrainedConfig) -> bool:
    """Whether every layer sees all that came before, each token knowing its own place.

    Only then are the key-values of a prompt's beginning the same in a batch of prompts of other lengths.
    """
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is not None:
        return all(kind == "full_attention" for kind in kinds)
    return not any(getattr(text, name, None) for name in _NOT_PLAIN)
