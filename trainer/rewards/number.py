"""Plain numbers as people write them: 1,234 and $5.50 and 3/4 and 2 1/2 and 50% and 6e3 and 18 dollars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
NUMBER = (
    rf"(?P<sign>[-+]?)(?:[$€£¥₹]\s?)?(?P<minus>-?)(?:(?P<whole>\d+)\s+(?=\d+/\d))?(?P<top>{_DIGITS})"
    rf"(?:[eE](?P<power>[-+]?\d{{1,3}})|\s?/\s?(?P<below>{_DIGITS}))?(?:\s?(?P<percent>%|percent\b))?"
)
# Words after a number are a unit, unless they are mathematics or offer a second answer.
_UNIT = r"(?:\s*(?!(?:pi|sqrt|or|and)\b)[^\W\d_]{2,}[^\d\\=+*^]*)?"
_PLAIN = re.compile(NUMBER + _UNIT)
_LATEX = {r"\%": "%", r"\$": "$", "{,}": ",", r"\,": "", r"\!": "", r"^\circ": "", r"^{\circ}": "", "°": "", "−": "-"}
_LONGEST = 200  # characters; Python refuses to read numbers of thousands of digits
_CLOSE = Fraction(1, 10**6)


@dataclass(frozen=True)
class Number:
    """A number; `percent` where it was written as one, its value then being what stands before the sign."""

    value: Fraction
    percent: bool = False


def plain_number(text: str) -> Number | None:
    """The number that `text` is, with its unit and the usual LaTeX around it. None where it is anything else."""
    for latex, plain in _LATEX.items():
        text = text.replace(latex, plain)
    text = re.sub(r"\\(?:text|mathrm|textbf)\s?\{([^{}]*)\}", r" \1", text)
    text = re.sub(r"^(?:\*\*|\\\(|\$(?=.*\$))|(?:\*\*|\\\)|(?<=\d)\$)$", "", text.strip()).strip().rstrip(".")
    found = _PLAIN.fullmatch(text) if len(text) <= _LONGEST else None
    return number_of(found) if found else None


def number_of(found: re.Match[str]) -> Number | None:
    """The number of a match of NUMBER; None where it divides by zero."""
    value = _fraction(found["top"])
    if found["below"]:
        below = _fraction(found["below"])
        if not below:
            return None
        value /= below
    value = (value + int(found["whole"] or 0)) * Fraction(10) ** int(found["power"] or 0)
    return Number(-value if "-" in found["sign"] + found["minus"] else value, bool(found["percent"]))


def equal(left: Number, right: Number) -> bool:
    """Whole numbers have to be the same, others to a millionth; 50% is 50 and 0.5."""
    if left.percent != right.percent:
        percent, other = (left, right) if left.percent else (right, left)
        return any(_near(value, other.value) for value in (percent.value, percent.value / 100))
    return _near(left.value, right.value)


def _near(left: Fraction, right: Fraction) -> bool:
    if left.denominator == right.denominator == 1:
        return left == right
    return abs(left - right) <= _CLOSE * max(abs(left), abs(right))


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))
