"""Curves as characters."""

from __future__ import annotations

import math

import pytest

from tui.glyphs import Style, bar
from tui.plot import AXIS, Curve, marks, plot, sparkline
from tui.units import compact, duration

STYLES: tuple[Style, ...] = ("braille", "block", "ascii")


def text(grid: list[list[tuple[str, int]]]) -> list[str]:
    return ["".join(character for character, _ in row) for row in grid]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(46, 8), (100, 16)])
def test_a_falling_curve_falls_and_fits(style: Style, size: tuple[int, int]) -> None:
    width, height = size
    steps = list(range(1, 401))
    train = Curve("train", steps, [0.5 + 2 * math.exp(-step / 80) for step in steps])
    held_out = Curve("eval", steps[::50], [0.6 + 2 * math.exp(-step / 80) for step in steps[::50]], marked=True)
    grid = plot([train, held_out], width, height, style)
    assert [len(row) for row in grid] == [width] * height
    drawn = [(x, y) for y, row in enumerate(grid) for x, (_, index) in enumerate(row) if index == 0]
    left, right = min(drawn)[0], max(drawn)[0]
    assert min(y for x, y in drawn if x == left) < min(y for x, y in drawn if x == right)
    markers = [character for row in grid for character, index in row if index == 1]
    assert markers and set(markers) == {"o" if style == "ascii" else "◆"}
    if style == "ascii":
        assert "".join(text(grid)).isascii()
    assert "400" in text(grid)[-1]


def test_one_spike_does_not_flatten_the_rest() -> None:
    values = [1.0 + 0.001 * (i % 10) for i in range(400)]
    values[200] = 1e6
    rows = {
        y for y, row in enumerate(plot([Curve("a", range(400), values)], 60, 12, "ascii")) for c, i in row if i == 0
    }
    assert len(rows) > 5


@pytest.mark.parametrize("values", [[], [math.nan], [1.0], [2.0, 2.0, 2.0]])
def test_little_to_draw_is_drawn(values: list[float]) -> None:
    grid = plot([Curve("a", range(len(values)), values)], 40, 8, "braille")
    known = [value for value in values if math.isfinite(value)]
    assert any(index == 0 for row in grid for _, index in row) == bool(known)
    assert ("no readings yet" in text(grid)[0]) == (not known)
    assert {index for row in grid for _, index in row} <= {AXIS, 0}


def test_small_pictures() -> None:
    assert bar(0.5, 10, "ascii") == "#####-----"
    assert bar(0.001, 10, "braille") == "█░░░░░░░░░" and bar(0, 4, "ascii") == "----" and bar(9, 4, "ascii") == "####"
    assert sparkline([1, 2, 3, 4], 4, "braille") == "▁▃▆█"
    assert sparkline([], 3, "ascii") == "   " and len(sparkline(range(1000), 12, "ascii")) == 12


@pytest.mark.parametrize(
    ("number", "said"),
    [(0.6134, "0.613"), (1234, "1.23k"), (3.4e6, "3.4M"), (2e-4, "2.0e-4"), (0, "0"), (17, "17"), (math.nan, "–")],
)
def test_numbers(number: float, said: str) -> None:
    assert compact(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(45, "45 s"), (59.7, "1 min"), (1080, "18 min"), (7500, "2 h 05 min"), (3 * 86400 + 4 * 3600, "3 d 4 h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def cells(grid: list[list[tuple[str, int]]], index: int = 0) -> dict[tuple[int, int], str]:
    """Characters of one curve by (column, row)."""
    return {(x, y): c for y, row in enumerate(grid) for x, (c, i) in enumerate(row) if i == index}


def axis_values(grid: list[list[tuple[str, int]]]) -> list[str]:
    """The labels of the value axis from the top."""
    return [line.replace("|", "+").split("+")[0].strip() for line in text(grid)[:-2] if line[:1] != "|"]


def test_the_whole_picture() -> None:
    train = Curve("train", range(0, 101, 10), [2.0 - step / 100 for step in range(0, 101, 10)])
    held_out = Curve("eval", [50, 100], [1.75, 1.25], marked=True)
    assert text(plot([train, held_out], 24, 8, "ascii")) == [
        "2.0+****                ",
        "   |    ****  o         ",
        "1.5+        ***         ",
        "   |           ****     ",
        "   |               ****o",
        "1.0+                   *",
        "   ++------------------+",
        "    0                100",
    ]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("gap", [None, math.nan, math.inf])
def test_a_gap_is_not_bridged(style: Style, gap: float | None) -> None:
    values: list[float | None] = [1.0] * 20 + [gap] * 20 + [1.0] * 20
    found = {x for x, _ in cells(plot([Curve("a", range(60), values)], 66, 8, style))}
    first, last = min(found), max(found)
    middle = range(first + 22, last - 21)
    assert middle and not found & set(middle)
    assert found >= {*range(first, first + 19), *range(last - 18, last + 1)}


@pytest.mark.parametrize(("style", "above", "below"), [("braille", "▲", "▼"), ("ascii", "^", "v")])
def test_spikes_are_marked_on_the_edge(style: Style, above: str, below: str) -> None:
    values = [1.0 + 0.01 * (i % 10) for i in range(100)]
    values[30], values[70] = 50.0, -50.0
    found = cells(plot([Curve("a", range(100), values)], 60, 12, style))
    assert [y for (_, y), c in found.items() if c == above] == [0]
    assert [y for (_, y), c in found.items() if c == below] == [9]


@pytest.mark.parametrize("decay", [40, 100, 400])
def test_a_loss_that_falls_fast_at_first_is_shown_whole(decay: int) -> None:
    values = [0.6 + 2 * math.exp(-step / decay) for step in range(400)]
    assert "▲" not in cells(plot([Curve("loss", range(400), values)], 60, 12, "braille")).values()


def test_the_held_out_curve_is_not_taken_for_spikes() -> None:
    train, held_out = Curve("train", range(400), [1.0 + i % 2 for i in range(400)]), Curve("eval", [200], [9.0], True)
    assert set(cells(plot([train, held_out], 60, 12, "braille"), 1).values()) == {"◆"}


def test_no_two_curves_look_alike_without_colour() -> None:
    level = range(60)
    curves = [Curve(name, level, [value] * 60) for name, value in (("host", 1.0), ("GPU", 2.0), ("peak", 3.0))]
    for style in STYLES:
        named = marks(curves, style)
        assert len(set(named)) == 3
        grid = plot(curves, 60, 12, style)
        for index in (1, 2):
            assert named[index] in cells(grid, index).values()
            assert named[index] not in cells(grid, 0).values()
            assert len(cells(grid, index)) < len(cells(grid, 0))  # dashed


def test_the_first_curve_lies_over_the_others() -> None:
    same = [Curve(name, range(60), [1.0] * 60) for name in "ab"]
    grid = plot(same, 60, 8, "braille")
    assert set(cells(grid, 1).values()) == {"◆"}  # its dashes are hidden, its marks are not


@pytest.mark.parametrize("style", STYLES)
def test_extremes_behind_thinned_values_make_a_band(style: Style) -> None:
    flat = [1.0] * 40
    line = plot([Curve("a", range(40), flat)], 60, 12, style)
    band = plot([Curve("a", range(40), flat, low=[0.5] * 40, high=[1.5] * 40)], 60, 12, style)
    assert len({y for _, y in cells(line)}) == 1
    assert len({y for _, y in cells(band)}) == 10


@pytest.mark.parametrize(("style", "dot"), [("braille", "•"), ("block", "▪"), ("ascii", "*")])
def test_a_single_point_is_seen(style: Style, dot: str) -> None:
    grid = plot([Curve("a", [7], [1.9])], 46, 8, style)
    assert list(cells(grid).values()) == [dot]
    assert text(grid)[-1].split() == ["7"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["1.0", "0.5", "0"]),
        ([2e-4, 2e-4], ["2.2e-4", "2.1e-4", "2.0e-4", "1.9e-4", "1.8e-4"]),
        ([40_000.0, 44_000.0], ["44k", "43k", "42k", "41k", "40k"]),
        ([1_000_000.0, 1_000_000.5], ["1.0000004M", "1.0000002M", "1.0000000M"]),
    ],
)  # fmt: skip
def test_values_are_round_and_told_apart(values: list[float], labels: list[str]) -> None:
    grid = plot([Curve("a", [0, 1], values)], 60, 8, "ascii")
    assert [label for label in axis_values(grid) if label] == labels


def test_steps_are_whole_numbers() -> None:
    assert text(plot([Curve("a", [7, 8], [1.0, 2.0])], 60, 8, "ascii"))[-1].split() == ["7", "8"]
    long = text(plot([Curve("a", [0, 20_000], [1.0, 2.0])], 46, 8, "ascii"))[-1]
    assert long.split() == ["0", "5k", "10k", "15k", "20k"]


def test_a_logarithmic_axis_has_decades_and_leaves_out_what_is_not_positive() -> None:
    values = [10.0**-power for power in range(5)] + [0.0, -3.0]
    grid = plot([Curve("a", range(7), values)], 60, 11, "ascii", log=True)
    assert [label for label in axis_values(grid) if label] == ["1", "0.1", "0.01", "0.001", "1.0e-4"]
    found = cells(grid)
    left, columns, rows = len("1.0e-4+"), 53, 9
    for power in range(5):  # equal steps down for equal factors
        assert (left + round(power / 6 * (columns - 1)), round(power / 4 * (rows - 1))) in found
    assert max(x for x, _ in found) == left + round(4 / 6 * (columns - 1))


def test_points_that_a_resume_wrote_again_are_drawn_in_order() -> None:
    ordered = plot([Curve("a", [1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0])], 40, 10, "braille")
    assert plot([Curve("a", [1, 4, 2, 3], [4.0, 1.0, 3.0, 2.0])], 40, 10, "braille") == ordered


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(0, 3), (3, 0), (1, 1), (2, 2), (12, 3), (15, 4), (16, 5)])
@pytest.mark.parametrize("values", [[1e308, -1e308, 5.0], [5e-324] * 3, [1e-300, 1e150, -1e150], [1.0, 1.0 + 1e-15, 1]])
def test_no_size_and_no_number_breaks_it(style: Style, size: tuple[int, int], values: list[float]) -> None:
    width, height = size
    for log in (False, True):
        grid = plot([Curve("a", [0, 1, 10**9], values), Curve("b", [3], [2.0])], width, height, style, log=log)
        assert [len(row) for row in grid] == [width] * height


def test_sparklines_have_gaps_and_bear_spikes() -> None:
    assert sparkline([1.0, None, 3.0, math.nan], 6, "block") == "▁ █   "
    assert sparkline([5.0] * 3, 3, "braille") == "▅▅▅"
    spiked = sparkline([float(i % 4) for i in range(40)] + [1e6], 41, "braille")
    assert spiked[:4] == "▁▃▆█" and spiked[-1] == "█"
    assert sparkline([0.0, 2.0, 8.0, 10.0], 2, "ascii") == "_#"
