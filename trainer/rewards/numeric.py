"""The reward `numeric`: the completion's number or formula equals the answer. Formulas are math-verify's matter."""

from __future__ import annotations

import logging
import re
from typing import Any

from recipes.rewards import Numeric
from trainer.rewards.extract import last_group
from trainer.rewards.number import NUMBER, equal, plain_number
from trainer.rewards.score import Score, short

_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_ANSWER = re.compile(r"\banswer\b(?:[^.:=\n]{0,60}?\b(?:is|are)\b|[ *]*[:=])[\s:*]*([^\n]+)", re.IGNORECASE)
# A dollar sign opens a formula where no blank follows it and closes one where no blank precedes it and no digit follows:
# others are money. With a command of LaTeX between them they are a formula in any case.
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)"
    r"|(?<!\\)\$(?!\s)((?:\\\$|[^$\n])+?)(?<![\s\\])\$(?!\d)"
    r"|(?<!\\)\$(?=[^$\n]*\\[a-z])([^$\n]+)\$(?!\d)",
    re.DOTALL,
)
_NUMBER = re.compile(rf"(?<![\w.]){NUMBER}")
_LEADING = re.compile(rf"(?>{NUMBER})(?!\s*[-+*/^=×÷\\({{]|[^\W\d])")
_CHOICE = re.compile(r"\s*[^\W\d]*\s*(?:,|\bor\b|\band\b)\s*[$€£¥₹]?-?[\d.]*\d")


def score_numeric(block: Numeric, completion: str, answer: Any) -> Score:
    """1 where the completion's answer equals the row's, as a number or as a formula, else 0."""
    want, completion = _wanted(str(answer)), completion.replace("−", "-")
    got = found_answer(completion) if block.extract is None else last_group(block.extract, completion)
    if not got or not got.strip():
        return Score(0.0, "no answer found" if block.extract is None else "`extract` matches nothing")
    right = _equal(want, got.strip())
    if right is None:
        return Score(None, f"the row's `{block.answer}` is no number or formula: {short(want)}")
    return Score(1.0, f"got {short(got)}") if right else Score(0.0, f"got {short(got)}, want {short(want)}")


def found_answer(text: str) -> str | None:
    """What a completion gives as its answer: the last \\boxed{}, else what follows the last ####, else the last
    "answer is", else the last formula or number."""
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    for marker, take in ((_HASHES, str.strip), (_ANSWER, _stated)):
        found = marker.findall(text)
        if found:
            return take(found[-1])
    return _last(text)


def load() -> Any:
    """math-verify, imported late: it takes a second, and plain numbers do without. It warns that it has no time limit."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return math_verify


def _wanted(answer: str) -> str:
    boxed = _boxed(answer)
    return boxed if boxed is not None else answer.rpartition("####")[2].strip()


def _equal(want: str, got: str) -> bool | None:
    """Whether two answers are equal; None where `want` is nothing that can be compared."""
    if want and want == got:
        return True
    number, other = plain_number(want), plain_number(got)
    if number is not None and other is not None:
        return equal(number, other)
    math = load()
    gold = math.parse(_as_formula(want), parsing_timeout=None)
    if not gold:
        return None
    return bool(math.verify(gold, math.parse(_as_formula(got), parsing_timeout=None), timeout_seconds=None))


def _as_formula(text: str) -> str:
    return text if _FORMULA.search(text) else f"${text}$"


def _boxed(text: str) -> str | None:
    """What stands in the last \\boxed{...} that is closed."""
    for start in reversed([match.end() for match in re.finditer(r"\\f?boxed\s*\{", text)]):
        depth = 1
        for at in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if not depth:
                return text[start:at].strip()
    return None


def _stated(tail: str) -> str:
    """The answer in what follows "answer is", to the end of its sentence."""
    sentence = re.split(r"\.(?:\s|$)", tail)[0].strip()
    formula = _FORMULA.match(sentence)
    if formula:
        return _inside(formula)
    after = sentence.rpartition("=")[2].strip()
    number = _LEADING.match(after)
    if number:
        # Who offers a second answer has given none: then all of it is taken, which equals nothing.
        choice = _CHOICE.match(after, number.end())
        return after[: choice.end()] if choice else number[0].strip()
    return _last(sentence) or sentence


def _last(text: str) -> str | None:
    """The formula or number that ends last."""
    found = [(match.end(), match[0].strip()) for match in _NUMBER.finditer(text)][-1:]
    for match in _FORMULA.finditer(text):
        found.append((match.end(), _inside(match)))
    return max(found)[1] if found else None


def _inside(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group)
