"""Grading of an answer that has to be JSON with one right number in it. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class Grade:
    """`valid`: the completion is a JSON object. `correct`: it is one, and its `answer` is the expected number."""

    valid: bool
    correct: bool


def grade(completion: str, expected: int) -> Grade:
    """The grade of one completion. White space around the object is allowed; words around it are not."""
    try:
        found: Any = json.loads(completion, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Grade(False, False)
    if not isinstance(found, dict):
        return Grade(False, False)
    answer = found.get("answer")
    # Python takes true for 1 and 12.0 for 12; what was asked for is a whole number.
    return Grade(True, type(answer) is int and answer == expected)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
