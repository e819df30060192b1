"""What is said about a question for Series."""

from __future__ import annotations

import pytest

from bulkdl.archive.base import SeriesQuestion


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ({"collection": "A"}, "collection A"),
        ({"collection": "A", "patient_id": "P 1"}, "collection A, patient id P 1"),
        ({}, "the whole archive"),
    ],
)
def test_a_question_names_its_criteria(criteria: dict[str, str], words: str) -> None:
    assert str(SeriesQuestion(criteria)) == words
