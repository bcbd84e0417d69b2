"""The reward `numeric`: which part of a completion is its answer, and when that equals the row's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from recipes.rewards import Numeric
from trainer.rewards.numeric import score_numeric
from trainer.rewards.score import Score

DATA = Path(__file__).parents[4] / "shared" / "data"
BLOCK = Numeric(kind="numeric")

RIGHT = [
    ("#### 1,234", "1234"),
    ("#### $1,234.00", 1234),
    ("5 * 3 = 15\n#### 15 dollars", "He makes 5 * 3 = <<5*3=15>>15.\n#### 15"),
    (r"So \boxed{7}, not 8.", "7"),
    (r"\boxed{18 \text{ dollars}}", "18"),
    (r"\boxed{\$1{,}234}", "$1,234"),
    (r"\boxed{\frac{1}{2}}", "0.5"),
    (r"first \boxed{6}, no: \boxed{7}", 7),
    (r"\boxed{\left(3, \frac{\pi}{2}\right)}", r"\left( 3, \frac{\pi}{2} \right)"),
    (r"\boxed{-q + p}", "p - q"),
    (r"\boxed{x=5}", "5"),
    ("The answer is 18 eggs per day.", "18"),
    ("The answer is 18, because 20 - 2 is 18, not 19.", "18"),
    ("The final answer is $18.", 18),
    (r"The answer is \(\frac{14}{3}\).", r"\frac{14}{3}"),
    ("The answer is p - q.", "p - q"),
    ("**Answer:** 18\nI counted 2 times.", "18"),
    ("Answer: $9 * 2 = $18", "18"),
    ("Answer:\n\n$$7$$", "7"),
    ("She makes 9 * 2 = $18 every day", "18"),
    ("There are 20 - 2", "2"),
    ("50%", "0.5"),
    ("50 percent", 50),
    ("3/4 of a cup", "0.75"),
    ("2 1/2 cups", 2.5),
    ("x = −3", "-3"),
    ("1.5e3", "1500"),
    ("0.3333333", "1/3"),
    ("3.", "3.0"),
]

WRONG = [
    ("#### 15\n#### 16", "15", "got 16, want 15"),
    (r"\boxed{5x}", "5", "got 5x, want 5"),
    (r"\boxed{(2,1)}", "(1,2)", "got (2,1), want (1,2)"),
    ("The answer is 17.", "18", "got 17, want 18"),
    ("3", "-3", "got 3, want -3"),
    ("10000001", "10000000", "got 10000001, want 10000000"),
    ("0.33", "1/3", "got 0.33, want 1/3"),
    ("1/0", "1", "got 1/0, want 1"),
    ("I do not know.", "1", "no answer found"),
    ("", "1", "no answer found"),
    # Two answers are none: the policy would soon offer every number there is.
    (r"\boxed{5 or 6}", "5", "got 5 or 6, want 5"),
    (r"\boxed{5 or x}", "5", "got 5 or x, want 5"),
    (r"\boxed{5, 6}", "6", "got 5, 6, want 6"),
    ("The answer is 5 or 6.", "5", "got 5 or 6, want 5"),
    ("The answer is 5 or 6.", "6", "got 5 or 6, want 6"),
    (r"\boxed{5}\boxed{6}", "5", "got 6, want 5"),
]


@pytest.mark.parametrize(("completion", "answer"), RIGHT)
def test_right(completion: str, answer: Any) -> None:
    assert score_numeric(BLOCK, completion, answer).score == 1.0


@pytest.mark.parametrize(("completion", "answer", "reason"), WRONG)
def test_wrong(completion: str, answer: Any, reason: str) -> None:
    assert score_numeric(BLOCK, completion, answer) == Score(0.0, reason)


def test_a_number_without_end_is_wrong() -> None:
    assert score_numeric(BLOCK, "9" * 10_000, "9").score == 0.0
    assert score_numeric(BLOCK, rf"\boxed{{{'9' * 10_000}}}", "9").score == 0.0


def test_extract_names_the_answer() -> None:
    block = Numeric(kind="numeric", extract="<answer>(.*?)</answer>")
    assert score_numeric(block, "<answer>4</answer> <answer>5</answer> or 6", 5).score == 1.0
    assert score_numeric(block, "The answer is 5", 5) == Score(0.0, "`extract` matches nothing")


def test_a_row_whose_answer_is_nothing_is_not_scored() -> None:
    assert score_numeric(BLOCK, "7", "") == Score(None, "the row's `answer` is no number or formula: ")


def test_agrees_with_the_labels_of_gsm8k() -> None:
    """5,276 real model solutions with `is_correct` by the dataset's authors."""
    path = DATA / "gsm8k" / "example_model_solutions.jsonl"
    if not path.exists():
        pytest.skip("GSM8K is not here")
    counts: Counter[tuple[float | None, bool]] = Counter()
    for line in path.open():
        row = json.loads(line)
        answer = row.pop("ground_truth").rpartition("A: ")[2]
        for solution in (value for value in row.values() if isinstance(value, dict)):
            counts[score_numeric(BLOCK, solution["solution"], answer).score, solution["is_correct"]] += 1
    assert counts == {(1.0, True): 2001, (0.0, False): 3275}


def test_every_answer_of_gsm8k_equals_itself_and_not_the_next() -> None:
    path = DATA / "gsm8k" / "train.jsonl"
    if not path.exists():
        pytest.skip("GSM8K is not here")
    answers = [json.loads(line)["answer"] for line in path.open()]
    last = [answer.rpartition("#### ")[2] for answer in answers]
    assert {score_numeric(BLOCK, answer, answer).score for answer in answers} == {1.0}
    for at, answer in enumerate(answers):
        assert score_numeric(BLOCK, answer, answers[at - 1]).score == float(last[at] == last[at - 1]), answer


def test_every_formula_of_math_equals_itself_and_not_the_next() -> None:
    path = DATA / "math" / "math500_test.json"
    if not path.exists():
        pytest.skip("MATH is not here")
    answers = [row["answer"] for row in json.loads(path.read_text())]
    for form in (r"So it is \boxed{%s}.", "The answer is $%s$."):
        assert [one for one in answers if score_numeric(BLOCK, form % one, one).score != 1.0] == []
    pairs = list(zip(answers, [*answers[1:], answers[0]], strict=True))
    alike = [pair for pair in pairs if score_numeric(BLOCK, rf"\boxed{{{pair[0]}}}", pair[1]).score != 0.0]
    assert [pair for pair in alike if pair[0] != pair[1]] == [("5", "x=5")]  # the value of an unknown is an answer
