"""The workspace file: defaults, presets, overrides, and that nothing misspelt passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gag.config import (
    WHOLE,
    AlignmentConfig,
    Config,
    DomainConfig,
    ExpertConfig,
    GenerationConfig,
    check_domain_name,
    load_config,
    merged,
    overridden,
    parse_config,
    parse_yaml,
    preset_names,
)
from gag.errors import ConfigError

PRESETS = ["demo", "multislot", "paper"]


def refused(*overrides: str, tree: dict[str, Any] | None = None) -> str:
    """The message with which `overrides`, or a whole tree, is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_config(tree, origin="gag.yaml") if tree is not None else load_config(overrides=overrides)
    assert caught.value.hint
    return caught.value.message


def test_nothing_given_is_the_defaults() -> None:
    assert load_config() == Config()


def test_the_shipped_presets_are_known_and_valid() -> None:
    assert set(PRESETS) <= set(preset_names())
    for name in preset_names():
        assert load_config(preset=name).preset == name


def test_the_papers_numbers() -> None:
    config = load_config(preset="paper")
    assert config.models.base.source == "Qwen/Qwen3-8B"
    assert config.models.expert.source == config.models.encoder.source == "Qwen/Qwen3-1.7B"
    expert, alignment, readout = config.expert, config.alignment, config.readout
    assert (expert.method, expert.learning_rate, expert.scheduler, expert.warmup) == ("full", 5e-6, "cosine", 0.1)
    assert (expert.epochs, expert.batch_size * expert.accumulation, expert.max_length, expert.seed) == (
        8,
        128,
        2048,
        42,
    )
    assert (alignment.learning_rate, alignment.scheduler, alignment.warmup) == (6e-3, "linear", 0.03)
    assert (alignment.weight_decay, alignment.epochs, alignment.batch_size, alignment.seed) == (0, 5, 32, 980406)
    assert (readout.layers, readout.pooling, readout.slots, readout.max_new_tokens) == ((-4,), "last", 1, 1024)
    assert (readout.temperature, readout.top_p, readout.top_k) == (0.7, 0.8, 20)
    assert (config.projector.kind, config.projector.normalize_input, config.projector.output_scale) == (
        "mlp",
        "none",
        1,
    )
    router = config.router
    assert (router.prototypes, router.n_init, router.max_questions, router.max_length) == (32, 10, 10_000, 256)


@pytest.mark.parametrize(
    ("pairs", "rate"), [(300, 2e-3), (624, 2e-3), (752, 2e-3), (1350, 1e-3), (3000, 1e-3), (6000, 7e-4), (60_000, 2e-4)]
)
def test_a_longer_training_takes_a_lower_rate(pairs: int, rate: float) -> None:
    expert = load_config(preset="demo").expert
    chosen = expert.for_pairs(pairs)
    assert (chosen.learning_rate, chosen.full_rate_steps) == (rate, 0)
    assert chosen.for_pairs(pairs) == chosen, "once is enough"
    plain = expert.model_copy(update={"learning_rate": rate, "full_rate_steps": 0})
    assert chosen.deciding() == plain.deciding(), "what is trained alike is one step"


def test_batches_and_epochs_are_what_makes_a_training_long() -> None:
    expert = ExpertConfig(learning_rate=0.01, full_rate_steps=10, batch_size=4, accumulation=2, epochs=5)
    assert expert.for_pairs(16).learning_rate == 0.01
    assert expert.for_pairs(17).learning_rate == 0.008
    assert expert.model_copy(update={"full_rate_steps": 0}).for_pairs(10**6).learning_rate == 0.01


def test_the_later_variants_numbers() -> None:
    config = load_config(preset="multislot")
    readout, alignment = config.readout, config.alignment
    assert (readout.slots, readout.layers, readout.pooling) == (4, (-1, -2, -4, -6), "segment_softmax")
    assert (readout.normalize, readout.clamp, config.projector.kind) == ("layer_norm", 10, "gated_residual")
    assert (alignment.semantic_weight, alignment.diversity_weight) == (0.01, 0.001)
    assert (alignment.learning_rate, alignment.max_steps) == (1e-4, 800)
    assert config.expert.pretrain_epochs > 0


def test_file_over_preset_and_override_over_file(tmp_path: Path) -> None:
    path = tmp_path / "gag.yaml"
    path.write_text("\ufeffpreset: paper\r\nreadout:\r\n  top_k: 5\r\nalignment:\r\n  learning_rate: 1e-3\r\n", "utf-8")
    config = load_config(path, overrides=["readout.top_p=0.5", "domains.lab.qa=qa.jsonl"])
    assert (config.preset, config.readout.temperature, config.readout.top_k, config.readout.top_p) == (
        "paper",
        0.7,
        5,
        0.5,
    )
    assert config.alignment.learning_rate == 1e-3
    assert config.domains["lab"].qa == "qa.jsonl"
    assert load_config(path, preset="multislot").readout.slots == 4


def test_keys_that_a_mapping_takes_over_are_not_there_twice() -> None:
    text = "a: &a {base: &b {x: 1, y: 1}, deep: &m {<<: *b, x: 2}}\ntop: {<<: *m}\n1: {}\n'1': {}"
    tree = parse_yaml(text, "a file")
    assert tree["top"] == {"x": 2, "y": 1} and tree["a"]["deep"] == {"x": 2, "y": 1}


def test_an_override_that_says_a_key_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set .*: epochs is there twice"):
        load_config(overrides=["alignment={epochs: 1, epochs: 2}"])


def test_a_misspelt_override_is_not_blamed_on_a_file_that_needs_another_one(tmp_path: Path) -> None:
    path = tmp_path / "gag.yaml"
    path.write_text("readout: {pooling: none}", "utf-8")
    assert load_config(path, overrides=["projector.kind=attention"]).readout.pooling == "none"
    with pytest.raises(ConfigError, match=r"^--set: unknown key alignment.sed"):
        load_config(path, overrides=["projector.kind=attention", "alignment.sed=1"])
    with pytest.raises(ConfigError, match=r"gag.yaml: the whole: projector.kind attention and"):
        load_config(path, overrides=["alignment.seed=1"])


def test_a_preset_can_be_an_override() -> None:
    assert load_config(overrides=["preset=paper"]) == load_config(preset="paper")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("readout.layers=[-4,-1]", "readout.layers", (-4, -1)),
        ("alignment.learning_rate=1e-4", "alignment.learning_rate", 1e-4),
        ("readout.clamp=2", "readout.clamp", 2.0),
        ("readout.clamp=null", "readout.clamp", None),
        ("expert.lora_targets=[q_proj, v_proj]", "expert.lora_targets", ("q_proj", "v_proj")),
        ("models.base.source=a/b=c", "models.base.source", "a/b=c"),
        ('models.base.revision="12e4567"', "models.base.revision", "12e4567"),
        ("models.base.revision=nan", "models.base.revision", "nan"),
        ("expert.truncate_answers=true", "expert.truncate_answers", True),
        ("prompts.expert_system=", "readout.slots", 1),
    ],
)
def test_overrides_are_yaml(override: str, path: str, value: object) -> None:
    if override == "prompts.expert_system=":
        assert "prompts.expert_system" in refused(override)
        return
    config: Any = load_config(overrides=[override])
    for name in path.split("."):
        config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


def test_what_is_wrong_is_said_of_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "gag.yaml"
    path.write_text("readout: {batch_size: 2}", "utf-8")
    with pytest.raises(ConfigError, match=r"^--set: unknown key readout.slotz"):
        load_config(path, overrides=["readout.slotz=3"])
    path.write_text("readout: {slotz: 2}", "utf-8")
    with pytest.raises(ConfigError, match=r"gag.yaml: unknown key readout.slotz"):
        load_config(path, overrides=["readout.batch_size=3"])


@pytest.mark.parametrize("override", ["slots", "=4", " =4", ""])
def test_an_override_without_key_or_value_is_refused(override: str) -> None:
    assert "is not key=value" in refused(override)


@pytest.mark.parametrize("value", ["[1", "{a", "2024-13-45", "[" * 5000, "1" * 5000])
def test_an_override_that_is_not_yaml_is_refused(value: str) -> None:
    assert "the value is not YAML" in refused(f"readout.slots={value}")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("readout.slot", "unknown key readout.slot (did you mean readout.slots?)"),
        ("readuot.slots", "unknown key readuot (did you mean readout?)"),
        ("models.base.dtpye", "unknown key models.base.dtpye (did you mean models.base.dtype?)"),
        ("domains.lab.feild", "unknown key domains.lab.feild (did you mean domains.lab.field?)"),
        ("xyzzy", "unknown key xyzzy"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(key: str, expected: str) -> None:
    assert refused(f"{key}=1") == f"--set: {expected}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("readout.slots=0", "readout.slots: Input should be greater than or equal to 1"),
        ("readout.slots=many", "readout.slots: Input should be a valid integer"),
        ("readout.layers=[]", "readout.layers"),
        ("readout=5", "readout: Input should be a valid dictionary"),
        ("alignment.learning_rate=.inf", "alignment.learning_rate: Input should be a finite number"),
        ("alignment.learning_rate=.nan", "alignment.learning_rate: Input should be a finite number"),
        ("projector.kind=mpl", "projector.kind: Input should be 'mlp', 'gated_residual' or 'attention'"),
        ("readout.slots=2", "pooling last gives one vector a question"),
        ("projector.kind=attention", "projector.kind attention and readout.pooling none go together"),
        ("prompts.expert_user=Why", "the template must hold {question} exactly once"),
        ('prompts.base_domain="{question}{question}{knowledge}"', "the template must hold {question} exactly once"),
        ('prompts.base_general="{question}{knowledge}"', "the template cannot hold {knowledge}"),
        ('prompts.expert_system="{question}"', "the template cannot hold {question}"),
        ("domains.general.field=x", "The name 'general' is taken"),
        ("preset=papr", "There is no preset 'papr'. Did you mean 'paper'?"),
        ("preset=[paper]", "There is no preset"),
        ('models.base.source="\\ud800"', "the escape \\ud800 is half a character"),
    ],
)
def test_wrong_values_are_refused_with_their_key(override: str, expected: str) -> None:
    message = refused(override)
    assert expected in message
    assert "\n" not in message


def test_prefill_needs_a_pooling_that_it_can_do() -> None:
    assert "pooling must be last or none" in refused("readout.mode=prefill", "readout.pooling=mean")
    assert load_config(overrides=["readout.mode=prefill", "readout.slots=4"]).readout.slots == 4
    wanted = "generation.refine_steps needs readout.mode generate (with another, set it to 0)"
    assert wanted in refused("readout.mode=prefill", "generation.refine_steps=3")


def test_refinement_that_is_off_is_not_in_what_a_modules_key_is_made_of() -> None:
    off, on = (load_config(overrides=[f"generation.refine_steps={steps}"]).generation for steps in (0, 3))
    assert "refine_steps" not in off.model_dump() and on.model_dump()["refine_steps"] == 3
    assert "refine_above" not in off.model_dump() and on.model_dump()["refine_above"] == 0.7
    surer = load_config(overrides=["generation.refine_above=0"])
    assert "refine_above" not in surer.generation.model_dump()
    assert surer.generation.model_dump(context=WHOLE)["refine_above"] == 0
    assert surer.generation.under({"refine_steps": 2}).refine_above == 0
    domain = {"alloys": DomainConfig(settings={"generation": {"refine_steps": 2}})}
    assert surer.model_copy(update={"domains": domain}).of("alloys").generation.refine_above == 0
    assert off.under({"refine_steps": 2}).refine_steps == 2 and on.under({"temperature": 0.5}).refine_steps == 3


def test_every_problem_is_told_at_once() -> None:
    message = refused(tree={"readuot": {}, "expert": {"epochs": 0}})
    assert message.startswith("gag.yaml: ")
    assert "expert.epochs" in message
    assert "readuot" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("readout: [1, 2", "gag.yaml line 1: not YAML"),
        ("a: 1\nb: {c\n", "gag.yaml line 3: not YAML"),
        ("readout: {slots: 2}\nexpert: {}\nreadout: {parts: 2}", "gag.yaml line 3: readout is there twice."),
        ("readout:\n  slots: 2\n  slots: 3", "gag.yaml line 3: slots is there twice."),
        ("readout: &r {slots: 2}\nexpert: {<<: *r, yes: 1, true: 2}", "gag.yaml line 2: true is there twice."),
        ("models: !!map [a]", "gag.yaml line 1: not YAML"),
        ("- preset", "gag.yaml: a list, not keys and values"),
        ("seed: 2024-13-45", "gag.yaml: not YAML (month must be in 1..12)"),
        ("a: \x07", "gag.yaml: not YAML"),
        ("a: " + "[" * 5000, "gag.yaml: nested too deeply"),
        ("on: 1", "gag.yaml: "),
        ("1: 1", "gag.yaml: "),
        ("a: !!python/object/apply:os.getcwd []", "gag.yaml line 1: not YAML"),
    ],
)
def test_a_file_that_is_no_workspace_file_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "gag.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message


def test_an_empty_file_is_the_defaults_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gag.yaml"
    path.write_text("# nothing yet\n")
    assert load_config(path) == Config()
    path.write_bytes(b"preset: \xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(path)
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load_config(tmp_path / "none.yaml")
    assert "gag init" in caught.value.hint
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(ConfigError, match="could not be read"):
        load_config(loop)


@pytest.mark.parametrize("name", ["", "-", "a/b", "..", "über", "a b", "general", "base", "a" * 65, "-a", "_a", "a.b"])
def test_names_that_cannot_be_a_domains(name: str) -> None:
    with pytest.raises(ConfigError):
        check_domain_name(name)


@pytest.mark.parametrize("name", ["a", "adjuvant", "lab-2", "my_lab", "7b", "a" * 64])
def test_names_that_can_be_a_domains(name: str) -> None:
    assert check_domain_name(name) == name


TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), TREES), st.dictionaries(st.sampled_from("abc"), TREES))
def test_merging_keeps_every_leaf_from_above_and_changes_neither(below: dict[str, Any], above: dict[str, Any]) -> None:
    before = repr((below, above))
    out = merged(below, above)
    assert merged(out, above) == out
    assert set(out) == set(below) | set(above)
    assert merged({}, above) == above
    assert merged(below, {}) == below
    assert repr((below, above)) == before


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().readout.slots = 4  # type: ignore[misc]


OWN = {
    "expert": {"epochs": 3},
    "domains": {"law": {"settings": {"expert": {"epochs": 2}, "generation": {"max_new_tokens": 128}}}, "alloys": {}},
}


def own(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "gag.yaml").write_text(json.dumps(OWN), "utf-8")
    return load_config(tmp_path / "gag.yaml", overrides=overrides)


def test_a_domains_own_choices(tmp_path: Path) -> None:
    config = own(tmp_path)
    assert (config.of("law").expert.epochs, config.of("law").generation.max_new_tokens) == (2, 128)
    assert config.of("alloys") is config and config.of("nobody") is config
    assert config.of("law").of("law") == config.of("law")
    assert config.of("law").domains == config.domains


def test_what_is_set_for_one_command_comes_before_a_domains_own_choices(tmp_path: Path) -> None:
    law = own(tmp_path, "expert.epochs=7").of("law")
    assert (law.expert.epochs, law.generation.max_new_tokens) == (7, 128)
    law = own(tmp_path, "domains.law.settings.expert.epochs=9").of("law")
    assert law.expert.epochs == 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": {}}, "domains.law.settings has models, which all domains share"),
        ({"retrieval": {"window": 96}}, "has retrieval.window, which all domains share"),
        ({"prompts": {"base_general": "{question}"}}, "has prompts.base_general, which all domains share"),
        ({"retrieval": {"encoder": {"source": "x"}}}, "has retrieval.encoder, which all"),
        ({"expert": {"epoch": 1}}, r"domains.law.settings: unknown key expert.epoch \(did you mean expert.epochs\?\)"),
        ({"readout": {"pooling": "none"}}, "domains.law.settings: .*go together"),
    ],
)
def test_wrong_choices_of_a_domain_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"domains": {"law": {"settings": settings}}}, origin="test")


def test_what_a_choice_of_memory_decides() -> None:
    """Nothing, where no noise is drawn: so it is in no step's key."""
    chosen = AlignmentConfig(batch_tokens=64, accumulation=4, prefix_cache_gb=0.5, checkpoint_every=3)
    assert chosen.deciding() == AlignmentConfig().model_dump()
    assert AlignmentConfig(counterfactual=1, counterfactual_near=0.5).deciding()["counterfactual_near"] == 0.5
    assert AlignmentConfig(counterfactual_near=0.5).deciding() == chosen.deciding(), "no pair it could be a share of"
    assert "counterfactual_near" not in chosen.deciding()  # what was trained before there was such a share is kept
    assert chosen.deciding(dropout=0.1)["batch_tokens"] == 64
    noisy = AlignmentConfig(batch_tokens=64, state_noise=0.1, checkpoint_every=3).deciding()
    assert (noisy["batch_tokens"], noisy["checkpoint_every"]) == (64, AlignmentConfig().checkpoint_every)
    assert AlignmentConfig(epochs=9).deciding() != AlignmentConfig().deciding()
    assert ExpertConfig(gradient_checkpointing=True).deciding() == ExpertConfig().model_dump()


def test_single_choices_over_a_section() -> None:
    own = GenerationConfig(max_new_tokens=128)
    assert own.under(None) is not None and own.under(None) == own
    assert own.under({"temperature": 0.5}) == GenerationConfig(max_new_tokens=128, temperature=0.5)
    assert own.under(GenerationConfig(top_k=3)) == GenerationConfig(top_k=3)


def test_what_was_set_of_a_section() -> None:
    texts = ["generation.top_k=3", "readout.slots=2", "generation={max_new_tokens: 7}"]
    assert overridden(texts, "generation") == {"top_k": 3, "max_new_tokens": 7}
    assert overridden(texts, "router") == {}
