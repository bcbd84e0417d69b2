"""An answer is right only where it is JSON, an object, and has the whole number that was asked for."""

from __future__ import annotations

import pytest

from trainer.evaluation.exact_match import Grade, grade

RIGHT, WRONG, INVALID = Grade(True, True), Grade(True, False), Grade(False, False)


@pytest.mark.parametrize(
    ("completion", "expected", "told"),
    [
        ('{"work": "8+4=12", "answer": 12}', 12, RIGHT),
        (' \n{"answer":12}\n', 12, RIGHT),
        ('{"answer": -3}', -3, RIGHT),
        ('{"work": "8+4=12", "answer": 13}', 12, WRONG),
        ('{"work": "8+4=12"}', 12, WRONG),
        ('{"answer": "12"}', 12, WRONG),
        ('{"answer": 12.0}', 12, WRONG),
        ('{"answer": true}', 1, WRONG),
        ('{"answer": null}', 0, WRONG),
        ('{"answer": [12]}', 12, WRONG),
        ('{"Answer": 12}', 12, WRONG),
        ('{"answer": 12, "answer": 13}', 12, WRONG),
        ("12", 12, INVALID),
        ("[12]", 12, INVALID),
        ('"answer"', 12, INVALID),
        ("They have 12 apples together.", 12, INVALID),
        ('The answer is {"answer": 12}', 12, INVALID),
        ('{"answer": 12} I hope that helps.', 12, INVALID),
        ('```json\n{"answer": 12}\n```', 12, INVALID),
        ("{'answer': 12}", 12, INVALID),
        ('{"answer": 12', 12, INVALID),
        ('{"answer": NaN}', 12, INVALID),
        ('{"answer": 012}', 12, INVALID),
        ("", 0, INVALID),
        ("[" * 100_000, 0, INVALID),
        ('{"answer": ' + "9" * 10_000 + "}", 9, INVALID),
    ],
)
def test_grades(completion: str, expected: int, told: Grade) -> None:
    assert grade(completion, expected) == told
