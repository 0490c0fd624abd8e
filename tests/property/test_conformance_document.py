"""docs/conformance.md says what the tests are, and every duty is tested or says why not."""

from __future__ import annotations

import re

from tests.conformance import doc, registry
from tests.conformance.duties import DUTIES


def test_the_document_is_what_the_tests_make_it() -> None:
    """`python -m tests.conformance --doc` makes it anew."""
    assert doc.PATH.read_text() == doc.text()


def test_every_duty_is_tested_or_says_why_not() -> None:
    registry.load()
    told = {*registry.CHECKS, *registry.inside(), *registry.NOT_CHECKED}
    assert told == set(DUTIES)


def test_the_ids_are_those_of_the_letters() -> None:
    letters = {re.sub(r"\d+$", "", id) for id in DUTIES} - {"1E"}
    assert letters == set(doc.LETTERS)
    for initial in letters:
        numbers = [int(id[1:]) for id in DUTIES if id != "1E" and id[0] == initial]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
