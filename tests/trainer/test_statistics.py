"""Shares and differences with their intervals, against numbers worked out elsewhere and against what they promise."""

from __future__ import annotations

import itertools
import random
from math import comb

import pytest

from trainer.evaluation.statistics import compare, mcnemar, proportion


def graded(both: int, lost: int, gained: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Two lists of grades with so many rows of each kind."""
    before = [True] * (both + lost) + [False] * (gained + neither)
    after = [True] * both + [False] * lost + [True] * gained + [False] * neither
    return before, after


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),  # Newcombe 1998, interval estimation for the single proportion, table I
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_share_has_the_wilson_interval(right: int, n: int, low: float, high: float) -> None:
    share = proportion(right, n)
    assert share.estimate == right / n
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_share_is_the_same_from_the_other_side() -> None:
    for n in (1, 7, 300):
        for right in (0, 1, n // 2, n):
            one, other = proportion(right, n), proportion(n - right, n)
            assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
            assert 0 <= one.low <= one.estimate <= one.high <= 1


@pytest.mark.parametrize(
    ("cells", "difference", "low", "high"),  # cells: right in both, before only, after only, in neither
    [
        ((14, 5, 0, 22), -0.1220, -0.2265, -0.0115),  # Newcombe 1998, paired data
        ((794, 150, 86, 570), -0.04, -0.0587, -0.0212),  # Agresti's approval ratings: the plain interval is +-0.0188
        ((0, 0, 0, 54), 0.0, -0.0664, 0.0664),
    ],
)
def test_a_paired_difference_has_newcombes_interval(
    cells: tuple[int, int, int, int], difference: float, low: float, high: float
) -> None:
    found = compare(*graded(*cells))
    assert found.n == sum(cells)
    told = found.difference
    assert (told.estimate, told.low, told.high) == pytest.approx((difference, low, high), abs=5e-5)


def test_lists_that_have_nothing_to_do_with_each_other_are_compared_as_two_samples() -> None:
    """Without correlation the distance to each end is that of the two Wilson intervals, squared and added."""
    found = compare(*graded(30, 30, 20, 20))
    down = (found.after.estimate - found.after.low) ** 2 + (found.before.high - found.before.estimate) ** 2
    assert found.difference.low == pytest.approx(found.difference.estimate - down**0.5)


def test_who_was_first_only_turns_the_sign() -> None:
    before, after = graded(10, 3, 25, 62)
    one, other = compare(before, after), compare(after, before)
    assert one.difference.estimate == pytest.approx(-other.difference.estimate)
    assert (one.difference.low, one.difference.high) == pytest.approx((-other.difference.high, -other.difference.low))
    assert (one.p, one.gained, one.lost) == (other.p, other.lost, other.gained)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(0)
    truth = {(True, True): 0.1, (True, False): 0.05, (False, True): 0.35, (False, False): 0.5}
    held = 0
    for _ in range(600):
        before, after = zip(*rng.choices(list(truth), list(truth.values()), k=80), strict=True)
        told = compare(before, after).difference
        held += told.low <= 0.3 <= told.high
    assert 0.92 <= held / 600 <= 0.985


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (5, 0, 0.0625),  # 2 / 2^5
        (2, 10, 0.03857421875),  # 2 * (1 + 12 + 66) / 2^12
        (7, 7, 1.0),
        (121, 59, 4.434e-06),  # the chi-squared test, which is not exact, has 3.8e-06
    ],
)
def test_mcnemar_is_exact(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-3)


def test_mcnemar_counts_every_outcome_that_is_as_unlikely() -> None:
    for gained, lost in itertools.product(range(8), repeat=2):
        n = gained + lost
        far = abs(gained - lost)
        as_far = sum(comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= far)
        assert mcnemar(gained, lost) == pytest.approx(as_far / 2**n)


def test_mcnemar_of_thousands_of_changes_is_a_number() -> None:
    assert 0 <= mcnemar(9000, 100) < 1e-300
    assert mcnemar(4000, 4000) == 1.0


def test_what_cannot_be_compared_is_refused() -> None:
    for before, after in (([], []), ([True], [True, False])):
        with pytest.raises(ValueError, match="row by row"):
            compare(before, after)
    for right, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no share"):
            proportion(right, n)
