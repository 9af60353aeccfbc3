"""Prompts are what the chat template gives, and no text that a user types becomes a marker or a slot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from gag.config import ModelConfig, PromptsConfig
from gag.errors import InputError, ModelError
from gag.models import chat
from gag.models.chat import EncodedPrompt, encode, encode_answer, fitted_answer, turn_end
from gag.models.loading import load_causal_lm
from gag.prompts import Message, Prompts, Untrusted
from gag.records import Question
from gag.testing import BOS_ID, IM_END_ID, IM_START_ID, PAD_ID, THINK_ID, byte_tokenizer

PROMPTS = Prompts(PromptsConfig(), "alloys", "Be brief.")
TOKENIZER = byte_tokenizer()
MARKERS = [
    "<|im_end|>", "<|im_start|>", "<|im_start|>system\n", "<think>", "</think>",
    "<|pad|>", "<|bos|>", "{knowledge}", "{question}",
    "<|im_", "end|>", "\n", " ", "\x02", "\x03", "é", "水", "🙂", "\ud800", "Answer:", "{{ x }}", "{%",
]  # fmt: skip
hostile = st.lists(st.sampled_from(MARKERS) | st.text(max_size=6), max_size=8).map("".join)

QWEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n' }}{% endif %}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
)
TRIMMED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def with_template(template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def library_ids(messages: list[dict[str, str]], tokenizer: PreTrainedTokenizerFast) -> list[int]:
    return list(
        tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False, tokenize=True, return_dict=False
        )
    )


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", (Untrusted(text),)),)


@pytest.mark.parametrize("template", [byte_tokenizer().chat_template, QWEN, TRIMMED])
@pytest.mark.parametrize("question", ["What is Q7?", "Wasser 水, é?", "  two  spaces  ", "line\nbreak", "<b> & </b>"])
def test_a_prompt_without_markers_is_the_templates_own(template: str, question: str) -> None:
    tokenizer = with_template(template)
    general = PROMPTS.general(question)
    wanted = library_ids([{"role": "user", "content": f"Answer the question.\n{question}"}], tokenizer)
    assert list(encode(general, tokenizer).ids) == wanted
    system = "You are an expert in alloys. Give background knowledge relevant to the question."
    expert = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    assert list(encode(PROMPTS.expert(question), tokenizer).ids) == library_ids(expert, tokenizer)


def added(ids: tuple[int, ...] | list[int]) -> list[int]:
    return [i for i in ids if i >= 256]


@settings(max_examples=150, deadline=None)
@given(text=hostile)
def test_no_text_becomes_a_marker(text: str) -> None:
    clean = text.encode("utf-8", errors="replace").decode("utf-8")
    prompt = encode(user(text), TOKENIZER)
    assert added(prompt.ids) == [IM_START_ID, IM_END_ID, IM_START_ID]
    inside = prompt.ids[1 : prompt.ids.index(IM_END_ID)]
    assert TOKENIZER.decode(inside) == "user\n" + clean
    assert prompt.slots == ()
    answer = encode_answer(text, TOKENIZER)
    assert added(answer) == [IM_END_ID] and answer[-1] == IM_END_ID
    assert TOKENIZER.decode(answer[:-1]) == clean


@settings(max_examples=60, deadline=None)
@given(text=hostile, slots=st.integers(1, 4))
def test_slots_are_where_the_template_has_them_whatever_the_question(text: str, slots: int) -> None:
    prompt = encode(PROMPTS.domain(text, slots), TOKENIZER)
    assert len(prompt.slots) == slots
    assert list(prompt.slots) == list(range(prompt.slots[0], prompt.slots[0] + slots))
    assert {prompt.ids[s] for s in prompt.slots} == {PAD_ID}
    assert TOKENIZER.decode(prompt.ids[: prompt.slots[0]]).endswith("\nKnowledge:")
    assert TOKENIZER.decode(prompt.ids[prompt.slots[-1] + 1 :]) == "<|im_end|>\n<|im_start|>assistant\n"
    around = [i for n, i in enumerate(prompt.ids) if n not in prompt.slots]
    assert added(around) == [IM_START_ID, IM_END_ID, IM_START_ID]


@pytest.mark.parametrize("marker", sorted(TOKENIZER.get_added_vocab()))
def test_every_added_token_of_the_tokenizer_stays_text(marker: str) -> None:
    ids = encode(user(f"a{marker}b {marker}{marker}"), TOKENIZER).ids
    assert added(ids) == [IM_START_ID, IM_END_ID, IM_START_ID]
    assert f"a{marker}b {marker}{marker}" in TOKENIZER.decode(ids)


def test_a_marker_cannot_form_across_the_questions_border() -> None:
    messages = (Message("user", ("<|im_", Untrusted("end|>x<|im_"), "end|>")),)
    ids = encode(messages, TOKENIZER).ids
    assert added(ids) == [IM_START_ID, IM_END_ID, IM_START_ID]
    assert "<|im_end|>x<|im_end|>" in TOKENIZER.decode(ids)


def test_a_question_cannot_swallow_a_marker_and_write_another() -> None:
    """As many added ids as before are not enough: they must be the same ones."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken("X<|im", special=False, normalized=False)])
    ids = encode(user("X"), tokenizer).ids
    assert added(ids) == [IM_START_ID, IM_END_ID, IM_START_ID]


def test_markers_of_a_lower_casing_tokenizer_stay_text() -> None:
    from tokenizers import normalizers

    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=True)])
    assert added(tokenizer("<TOOL>", add_special_tokens=False)["input_ids"])
    assert added(encode(user("a<TOOL>b"), tokenizer).ids) == [IM_START_ID, IM_END_ID, IM_START_ID]


def test_a_single_reserved_character_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken("☃", special=True, normalized=False)])
    with pytest.raises(InputError, match="reserves"):
        encode(user("a ☃"), tokenizer)


def test_a_template_without_a_system_role_gets_the_system_text_in_the_users_message() -> None:
    tokenizer = with_template(NO_SYSTEM)
    ids = encode(PROMPTS.expert("Why?"), tokenizer).ids
    system = "You are an expert in alloys. Give background knowledge relevant to the question."
    assert TOKENIZER.decode(ids) == f"<|im_start|>user\n{system}\n\nWhy?<|im_end|>\n"


def test_without_a_template_there_is_a_plain_one() -> None:
    tokenizer = byte_tokenizer(chat_template=False)
    prompt = encode(PROMPTS.domain("Why <|im_end|>?", 2), tokenizer)
    before, after = prompt.ids[: prompt.slots[0]], prompt.ids[prompt.slots[-1] + 1 :]
    assert TOKENIZER.decode(before).endswith("Question: Why <|im_end|>?\nKnowledge:")
    assert TOKENIZER.decode(after) == "\nAnswer:"
    assert added(prompt.ids) == [PAD_ID, PAD_ID]
    assert turn_end(tokenizer) == IM_END_ID


def test_without_a_template_a_bos_stands_first_where_the_tokenizer_adds_one() -> None:
    from tokenizers import processors

    tokenizer = byte_tokenizer(chat_template=False)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", BOS_ID)]
    )
    prompt = encode(PROMPTS.domain("Why?", 1), tokenizer)
    assert prompt.ids[0] == BOS_ID
    assert added(prompt.ids) == [BOS_ID, PAD_ID]


def test_thinking_is_switched_off_where_the_template_knows_it() -> None:
    ids = encode(user("x"), with_template(QWEN)).ids
    assert added(ids)[-1] == THINK_ID
    assert TOKENIZER.decode(ids).endswith("assistant\n<think>\n\n")


DROPS = "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_end|>' }}{% endfor %}"
REPEATS = "{% for m in messages %}{{ m.content + m.content }}{% endfor %}"
REORDERS = "{% for m in messages | reverse %}{{ m.content }}{% endfor %}"
UPPER = "{% for m in messages %}{{ (m.content | upper) }}{% endfor %}"
MISSING = "{{ messages[7].content }}"
RAISES = "{{ raise_exception('never') }}"


@pytest.mark.parametrize(
    "template", [DROPS, REPEATS, REORDERS, UPPER, RAISES, "{{ messages[7].content }}", "{% for %}"]
)
def test_a_template_that_does_not_keep_the_text_is_refused(template: str) -> None:
    messages = (Message("system", (Untrusted("a"),)), Message("user", (Untrusted("b"),)))
    with pytest.raises(ModelError) as caught:
        encode(messages, with_template(template))
    assert "template" in caught.value.message
    assert caught.value.hint


def test_the_turn_ends_with_what_the_template_writes() -> None:
    assert turn_end(byte_tokenizer()) == IM_END_ID
    other = with_template("{% for m in messages %}{{ m.content + '<|im_start|>' }}{% endfor %}")
    assert turn_end(other) == IM_START_ID
    nothing = with_template("{% for m in messages %}{{ m.content + '.' }}{% endfor %}")
    assert turn_end(nothing) == IM_END_ID
    nothing.eos_token = None
    with pytest.raises(ModelError, match="end-of-text"):
        turn_end(nothing)


def test_an_answer_is_cut_only_if_allowed() -> None:
    question = Question("q", "?", ("abcdef",))
    whole = fitted_answer(question, TOKENIZER, room=7, truncate=False)
    assert whole == [*b"abcdef", IM_END_ID]
    assert fitted_answer(question, TOKENIZER, room=3, truncate=True) == list(b"abc")
    with pytest.raises(InputError, match="'q' has 7 tokens"):
        fitted_answer(question, TOKENIZER, room=6, truncate=False)
    for truncate in (False, True):
        with pytest.raises(InputError, match="alone is longer"):
            fitted_answer(question, TOKENIZER, room=0, truncate=truncate)


def test_a_collision_with_the_place_holder_is_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter(["aa", "bb"])
    monkeypatch.setattr(chat.secrets, "token_hex", lambda size: next(taken))
    ids = encode(user("see \x02aa\x030\x02aa\x03"), TOKENIZER).ids
    assert "see \x02aa\x030\x02aa\x03" in TOKENIZER.decode(ids)


@pytest.mark.slow
def test_smollm2s_own_tokenizer() -> None:
    tokenizer = load_causal_lm(ModelConfig(device="cpu", dtype="float32")).tokenizer
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    question = "How does Q7 differ from  R2 — in 水?\n"
    content = f"Answer the question.\n{question}"
    ids = encode(PROMPTS.general(question), tokenizer)
    assert isinstance(ids, EncodedPrompt)
    assert list(ids.ids) == library_ids([{"role": "user", "content": content}], tokenizer)
    reserved = frozenset(tokenizer.get_added_vocab().values())
    wanted = [i for i in ids.ids if i in reserved]
    for marker in tokenizer.get_added_vocab():
        text = f"a{marker} b{marker}{marker}\n{{knowledge}}"
        got = encode(PROMPTS.general(text), tokenizer).ids
        assert [i for i in got if i in reserved] == wanted
        assert text in tokenizer.decode(got)
        domain = encode(PROMPTS.domain(text, 3), tokenizer)
        assert [i for n, i in enumerate(domain.ids) if i in reserved and n not in domain.slots] == wanted
    assert tokenizer.decode([turn_end(tokenizer)]) == "<|im_end|>"
