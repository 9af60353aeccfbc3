"""What a text states by its form: abbreviations, found in the time that the text's length asks for."""

from __future__ import annotations

import time

from gag.corpus.synthesis.stated import expansions


def test_abbreviations_are_found_with_what_they_stand_for() -> None:
    sentence = "Tumour-necrosis factor (TNF) binds the tumour-necrosis-factor receptor (TNFR) of a cell (C)."
    assert list(expansions(sentence)) == [
        ("TNF", "Tumour-necrosis factor"),
        ("TNFR", "tumour-necrosis-factor receptor"),
    ]


def test_a_sequence_of_residues_takes_no_time() -> None:
    started = time.monotonic()
    assert list(expansions("The peptide " + "-".join(["Ala"] * 60) + " was made.")) == []
    assert time.monotonic() - started < 0.1
