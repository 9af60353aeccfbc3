"""Knowledge states are read once, kept whole, and read again where a shard is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from gag.config import PromptsConfig, ReadoutConfig
from gag.errors import RunError
from gag.models.expert import Expert, Reading
from gag.prompts import Prompts
from gag.testing import byte_tokenizer, tiny_causal_lm
from gag.training import states as module
from gag.training.states import StateStore, fill, states_key

PROMPTS = Prompts(PromptsConfig(expert_system=""), "alloys", "")
QUESTIONS = ["Why?", "What is Q7?", "Who made the second batch?", "水?", "x" * 30]
READOUT = ReadoutConfig(pooling="segment_mean", slots=2, layers=(-2, -1), max_new_tokens=4, batch_size=2)


class Counting(Expert):
    """An expert that counts the questions it reads and may fail after some."""

    def __init__(self, fail_after: int = 10**9) -> None:
        super().__init__(tiny_causal_lm(), byte_tokenizer(), PROMPTS)
        self.read_questions: list[str] = []
        self.fail_after = fail_after

    def read_batches(
        self, questions: Sequence[str], config: ReadoutConfig, *, scored: bool = False
    ) -> Iterator[tuple[list[int], list[Reading]]]:
        for indices, readings in super().read_batches(questions, config, scored=scored):
            if len(self.read_questions) >= self.fail_after:
                raise KeyboardInterrupt
            self.read_questions += [questions[i] for i in indices]
            yield indices, readings


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_what_is_kept_is_what_was_read(tmp_path: Path, batch_size: int) -> None:
    store, expert = StateStore(tmp_path / "s"), Counting()
    config = READOUT.model_copy(update={"batch_size": batch_size})
    assert fill(store, expert, [*QUESTIONS, "Why?"], config) == len(QUESTIONS)
    assert sorted(expert.read_questions) == sorted(QUESTIONS)
    wanted = expert.read(QUESTIONS, READOUT)
    for reopened in (store, StateStore(tmp_path / "s")):
        assert reopened.missing(QUESTIONS) == []
        together = reopened.load([*QUESTIONS, "Why?"])
        assert torch.equal(together[-1], together[0])
        for question, states, reading in zip(QUESTIONS, together, wanted, strict=False):
            kept = reopened.get(question)
            assert kept.background == reading.background
            assert torch.equal(kept.states, states)
            torch.testing.assert_close(states, reading.states, rtol=1e-4, atol=1e-4)
    assert [path.suffix for path in (tmp_path / "s").iterdir()] == [".safetensors"]


def test_unpooled_states_keep_their_lengths(tmp_path: Path) -> None:
    config = ReadoutConfig(pooling="none", layers=(-1,), max_new_tokens=5)
    store, expert = StateStore(tmp_path), Counting()
    fill(store, expert, QUESTIONS, config)
    for states, reading in zip(store.load(QUESTIONS), expert.read(QUESTIONS, config), strict=True):
        assert states.shape == reading.states.shape == (max(1, reading.tokens), 1, 32)


def test_only_what_is_missing_is_read(tmp_path: Path) -> None:
    expert = Counting()
    fill(StateStore(tmp_path), expert, QUESTIONS[:2], READOUT)
    expert.read_questions.clear()
    store = StateStore(tmp_path)
    assert store.missing([*QUESTIONS, "Why?", QUESTIONS[3]]) == QUESTIONS[2:]
    assert fill(store, expert, QUESTIONS, READOUT) == 3
    assert sorted(expert.read_questions) == sorted(QUESTIONS[2:])
    assert fill(store, expert, QUESTIONS, READOUT) == 0
    with pytest.raises(KeyError):
        store.get("never asked")


def test_an_interruption_loses_only_what_was_not_yet_in_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_QUESTIONS", 2)
    with pytest.raises(KeyboardInterrupt):
        fill(StateStore(tmp_path), Counting(fail_after=4), QUESTIONS, READOUT)
    expert = Counting()
    store = StateStore(tmp_path)
    assert len(store.missing(QUESTIONS)) == 1
    fill(store, expert, QUESTIONS, READOUT)
    assert len(expert.read_questions) == 1
    fresh = StateStore(tmp_path / "fresh")
    fill(fresh, Counting(), QUESTIONS, READOUT)
    for one, other in zip(store.load(QUESTIONS), fresh.load(QUESTIONS), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("damage", ["cut", "empty", "no metadata", "garbage"])
def test_a_damaged_shard_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(module, "SHARD_QUESTIONS", 2)
    store = StateStore(tmp_path)
    fill(store, Counting(), QUESTIONS, READOUT)
    wanted = [states.clone() for states in store.load(QUESTIONS)]  # those loaded are the file's own pages
    shard = sorted(tmp_path.iterdir())[0]
    if damage == "no metadata":
        module.save_file({"x": torch.zeros(1)}, shard)
    else:
        whole = shard.read_bytes()
        shard.write_bytes({"cut": whole[:-9], "empty": b"", "garbage": b"\xff" * 200}[damage])
    again, expert = StateStore(tmp_path), Counting()
    assert 0 < len(again.missing(QUESTIONS)) < len(QUESTIONS)
    fill(again, expert, QUESTIONS, READOUT)
    assert 0 < len(expert.read_questions) < len(QUESTIONS)
    for one, other in zip(again.load(QUESTIONS), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_shard_that_another_process_removes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone.safetensors").write_bytes(b"")

    def gone(path: Path, **_: object) -> None:
        path.unlink()
        raise FileNotFoundError(path)

    monkeypatch.setattr(module, "safe_open", gone)
    assert StateStore(tmp_path).missing(["Why?"]) == ["Why?"]


def test_a_worker_whose_share_is_not_there_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = StateStore.add
    monkeypatch.setattr(
        StateStore, "add", lambda self, questions, readings: original(self, questions[:-1], readings[:-1])
    )
    with pytest.raises(RunError, match="1 of 5 questions"):
        fill(StateStore(tmp_path), Counting(), QUESTIONS, READOUT)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left")])
def test_a_full_disk_is_one_plain_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(module, "save_file", full)
        with pytest.raises(RunError, match="No space left"):
            fill(StateStore(tmp_path), Counting(), QUESTIONS, READOUT)
    assert list(tmp_path.iterdir()) == []
    assert fill(StateStore(tmp_path), Counting(), QUESTIONS, READOUT) == 5


def test_a_folder_that_cannot_be_made_is_one_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written"):
        fill(StateStore(tmp_path / "file" / "s"), Counting(), QUESTIONS, READOUT)


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    fill(StateStore(tmp_path), Counting(), QUESTIONS, READOUT, lambda s, d, t, note="": told.append((s, d, t)))
    assert told == [("states", 2, 5), ("states", 4, 5), ("states", 5, 5)]


def test_the_key_tells_apart_what_changes_states() -> None:
    keys = {
        states_key("expert", PROMPTS.to_json(), READOUT),
        states_key("other", PROMPTS.to_json(), READOUT),
        states_key("expert", Prompts(PromptsConfig(), "alloys", "").to_json(), READOUT),
    }
    for change in (
        {"mode": "prefill", "pooling": "last"},
        {"layers": (-1,)},
        {"pooling": "segment_softmax"},
        {"slots": 3},
        {"max_new_tokens": 5},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"top_k": 5},
        {"seed": 1},
        {"normalize": "layer_norm"},
        {"clamp": 1.0},
        {"parts": 2},
    ):
        keys.add(states_key("expert", PROMPTS.to_json(), READOUT.model_copy(update=change)))
    assert len(keys) == 15
    assert states_key("expert", PROMPTS.to_json(), READOUT.model_copy(update={"batch_size": 9})) in keys
    assert set(ReadoutConfig.model_fields) == {
        "mode", "layers", "pooling", "slots", "max_new_tokens", "temperature", "top_p", "top_k", "seed", "normalize",
        "clamp", "parts", "batch_size",
    }  # fmt: skip
