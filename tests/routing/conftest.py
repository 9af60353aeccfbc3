from __future__ import annotations

import pytest

from gag.routing.encoder import Encoder
from gag.testing import tiny_encoder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """A random encoder of 32 dimensions."""
    model, tokenizer = tiny_encoder()
    return Encoder(model, tokenizer, name="tiny", fingerprint="f" * 64, pooling="mean", batch_size=4)
