"""What graded answers say: a share with its interval, and whether one model answers better than another.

Standard library only. Intervals are at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959963984540054  # the normal distribution has 95 % of its weight within so many standard deviations


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95 % interval, as shares (0 to 1, or -1 to 1 for a difference)."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows. `difference` is after minus before; `p` is the exact McNemar test, two-sided."""

    n: int
    before: Interval
    after: Interval
    difference: Interval
    p: float
    gained: int  # rows wrong before and right after
    lost: int  # rows right before and wrong after


def proportion(right: int, n: int) -> Interval:
    """The share `right / n` with its Wilson interval, which stays within 0..1 and has a width at 0 and at 1.

    Raises ValueError unless 0 <= right <= n and n > 0.
    """
    if not 0 <= right <= n or n == 0:
        raise ValueError(f"{right} of {n} is no share")
    share = right / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    # At the ends the formula gives exactly 0 and 1, but its arithmetic does not.
    return Interval(share, 0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half)


def compare(before: Sequence[bool], after: Sequence[bool]) -> Comparison:
    """How the second list of grades differs from the first, row by row on the same rows.

    The interval is Newcombe's for paired shares (1998, method 10): built from the two Wilson intervals and the
    correlation of the lists, it is sound also where one model gets no row right. Raises ValueError for lists that are
    empty or of different length.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} and {len(after)} grades cannot be compared row by row")
    n = len(before)
    both = sum(b and a for b, a in zip(before, after, strict=True))
    lost, gained = sum(before) - both, sum(after) - both
    neither = n - both - lost - gained
    first, second = proportion(both + lost, n), proportion(both + gained, n)
    correlation = _correlation(both, gained, lost, neither)
    share = (gained - lost) / n
    down = _distance(second.estimate - second.low, first.high - first.estimate, correlation)
    up = _distance(second.high - second.estimate, first.estimate - first.low, correlation)
    return Comparison(n, first, second, Interval(share, share - down, share + up), mcnemar(gained, lost), gained, lost)


def mcnemar(gained: int, lost: int) -> float:
    """The two-sided exact p of so many changes for the better and for the worse, if both were equally likely."""
    changed = gained + lost
    tail = sum(math.comb(changed, k) for k in range(min(gained, lost) + 1))
    return float(min(1.0, 2 * tail / 2**changed))


def _distance(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Of two lists of grades, made smaller by Newcombe's correction where it is positive; 0 where one list is all equal."""
    sides = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    if sides == 0:
        return 0.0
    product = float(both * neither - gained * lost)
    if product > 0:
        product = max(product - (both + gained + lost + neither) / 2, 0.0)
    return product / math.sqrt(sides)
