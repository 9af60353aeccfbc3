"""Names as terms and back."""

from __future__ import annotations

import pyoxigraph
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gag.errors import InputError, RunError
from gag.graph.terms import (
    check_relation_name,
    entity_term,
    inverse,
    iri_term,
    label_of,
    literal_term,
    literal_value,
    relation_label,
    relation_term,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(NAMES)
def test_a_name_comes_back_from_its_term_whatever_it_holds(name: str) -> None:
    term = entity_term(name)
    assert label_of(term) == name
    assert str(pyoxigraph.NamedNode(term[1:-1])) == term  # a valid IRI
    assert not set(term[1:-1]) & set(' <>"{}|^`\\\n\t')


@given(NAMES)
def test_a_literal_is_written_as_the_store_writes_it(text: str) -> None:
    assert literal_value(literal_term(text)) == (text, "")
    assert literal_value(str(pyoxigraph.Literal(text, language="en"))) == (text, "en")


def test_two_names_never_share_a_term() -> None:
    assert len({entity_term(n) for n in ("a b", "a%20b", "a_b", "A b", "a|b", "a/b")}) == 6
    assert entity_term("x") != relation_term("x")


def test_iris_are_called_by_their_last_part() -> None:
    assert label_of("<http://www.wikidata.org/entity/Q42>") == "Q42"
    assert label_of("<http://dbpedia.org/resource/Johnny_Belinda/>") == "Johnny Belinda"
    assert relation_label("<http://schema.org/director>") == "director"
    assert relation_label("<http://example.org/ns#was_born_in>") == "was_born_in"


@pytest.mark.parametrize("iri", ["", "http://a b", 'http://a"b', "http://a> } <http://b", "http://a\nb"])
def test_an_iri_from_outside_cannot_end_a_query_early(iri: str) -> None:
    with pytest.raises(RunError, match="no IRI"):
        iri_term(iri, "The endpoint http://e")


def test_the_inverse_of_the_inverse() -> None:
    assert inverse("directed_by") == "^directed_by"
    assert inverse("^directed_by") == "directed_by"
    with pytest.raises(InputError, match=r"line 3.*cannot be written in a path"):
        check_relation_name("^x", "kb.tsv line 3")
