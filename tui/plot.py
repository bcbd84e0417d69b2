"""Curves as characters: braille where the terminal has it, blocks or ASCII where not. Pure functions, no textual."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TypeGuard

from tui.glyphs import Style
from tui.units import compact

AXIS = -1

Cell = tuple[str, int]  # character, index of the curve it belongs to (AXIS for the frame)


@dataclass(frozen=True)
class Curve:
    """One metric over steps; None or a value that is not finite is a gap. `marked` shows points alone, not joined.

    `low` and `high` are the extremes behind each value where the values were thinned; all have one entry a step.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[float | None]
    marked: bool = False
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None


@dataclass(frozen=True)
class _Glyphs:
    dots: tuple[int, int]  # columns and rows of dots in a cell
    cells: str  # a cell by the bits of its dots, bit = row * columns + column
    dashes: str  # the same for curves that are dashed
    band: str  # a cell that only extremes reach; empty where sparse dots show it
    plain: str  # the plain curve in a legend, and a point of it that stands alone
    marks: str  # of all other curves, in their order
    clipped: str  # what lies above and below the range
    axis: str  # vertical, vertical with tick, corner, horizontal, horizontal with tick
    levels: str  # of a sparkline


_BRAILLE_BITS = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)  # Unicode counts down the columns, lowest row last
_BRAILLE = "".join(chr(0x2800 + sum(b for i, b in enumerate(_BRAILLE_BITS) if bits >> i & 1)) for bits in range(256))
_QUADRANTS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
_EIGHTHS = "▁▂▃▄▅▆▇█"
_GLYPHS: dict[Style, _Glyphs] = {
    "braille": _Glyphs((2, 4), _BRAILLE, _BRAILLE, "", "―•", "◆○■□", "▲▼", "│┤└─┬", _EIGHTHS),
    "block": _Glyphs((2, 2), _QUADRANTS, _QUADRANTS, "░", "―▪", "◆○■□", "▲▼", "│┤└─┬", _EIGHTHS),
    "ascii": _Glyphs((1, 1), " *", " .", ":", "**", "ox+@", "^v", "|++-+", "_.-=+*#"),
}
_TINY, _HUGE = 1e-30, 1e200  # no metric lies beyond these; the arithmetic below stays finite within
_MARK_EVERY = 4  # cells between the marks of a curve that has many points


@dataclass(frozen=True)
class _Point:
    """A value, or the median of those in one column, and the extremes behind it."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class _Scale:
    """Places values between `low` and `high`, by their logarithms if `log`."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float, places: int) -> int:
        """The nearest of `places` counted from the low end; what lies beyond is put on the edge."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        share = math.log(value / low) / math.log(high / low) if self.log else (value - low) / (high - low)
        return int(share * (places - 1) + 0.5)


def marks(curves: Sequence[Curve], style: Style) -> list[str]:
    """What tells each curve in a legend: a line for the first unmarked one, a mark of its own for each other."""
    glyphs, plain = _GLYPHS[style], _plain(curves)
    others = [i for i in range(len(curves)) if i != plain]
    own = {index: glyphs.marks[at % len(glyphs.marks)] for at, index in enumerate(others)}
    return [own.get(i, glyphs.plain[0]) for i in range(len(curves))]


def plot(curves: Sequence[Curve], width: int, height: int, style: Style, *, log: bool = False) -> list[list[Cell]]:
    """`height` rows of `width` cells: values on the left, steps below, the curves between.

    Values that share a column are drawn as their median, within a band of their extremes. Lone spikes stay out of the
    range so that they do not flatten the rest; they are marked on the edge. `log` leaves out what is not positive.
    """
    grid: list[list[Cell]] = [[(" ", AXIS)] * max(width, 0) for _ in range(height)]
    plain, names = _plain(curves), marks(curves, style)
    pieces = [_pieces(curve, log, extremes=i == plain) for i, curve in enumerate(curves)]
    if width < 1 or height < 1 or not any(pieces):
        _put(grid, 0, 0, "no readings yet")
        return grid
    steps = [step for curve in curves for step in curve.steps]  # a curve that ends in a gap is not stretched over it
    canvas = _Canvas(grid, style, _Scale(min(steps), max(*steps, min(steps) + 1)), _range(pieces, log))
    canvas.frame(max(steps))
    for index in reversed(range(len(curves))):  # the first curve over the others
        for piece in pieces[index] if not curves[index].marked else ():
            canvas.line(index, piece, dashed=index != plain)
    for index, curve in enumerate(curves):
        points = [point for piece in pieces[index] for point in piece]
        if index != plain:
            canvas.marks(index, points, names[index], every=1 if curve.marked else _MARK_EVERY)
        canvas.clipped(index, points)
    return grid


def sparkline(values: Sequence[float | None], width: int, style: Style) -> str:
    """The last course of a metric in `width` characters, the mean of what shares one; a gap is a space."""
    count = min(len(values), width)
    groups = (values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count))
    means = [sum(known) / len(known) if (known := [v for v in group if _known(v)]) else None for group in groups]
    present = [mean for mean in means if mean is not None]
    low, high = _fence(present) if present else (0.0, 0.0)
    levels = _GLYPHS[style].levels

    def level(mean: float) -> str:
        return levels[_Scale(low, high).place(mean, len(levels))] if high > low else levels[len(levels) // 2]

    return "".join(" " if mean is None else level(mean) for mean in means).ljust(width)


class _Canvas:
    """Draws into `grid`, whose left and lower margins it gives to the axes where there is room for them."""

    def __init__(self, grid: list[list[Cell]], style: Style, x_scale: _Scale, y_scale: _Scale) -> None:
        self._grid, self._glyphs, self._x_scale, self._y_scale = grid, _GLYPHS[style], x_scale, y_scale
        self._rows = len(grid) - 2 if len(grid) >= 5 else len(grid)
        self._labels = _y_labels(y_scale, self._rows) if len(grid[0]) >= 16 else {}
        self._left = max(map(len, self._labels.values()), default=-1) + 1
        self._columns = len(grid[0]) - self._left

    def frame(self, last: float) -> None:
        """The axes, with steps up to `last`."""
        upright, tick, corner, level, tick_below = tuple(self._glyphs.axis)
        for row in range(self._rows if self._left else 0):
            text = self._labels.get(row, "")
            _put(self._grid, row, 0, text.rjust(self._left - 1) + (tick if text else upright))
        if self._rows == len(self._grid):
            return
        _put(self._grid, self._rows, 0, corner.rjust(self._left)[: self._left] + level * self._columns)
        ticks, step = _ticks(self._x_scale, self._columns // 8, least=1)
        free = 0  # the first column that no label has taken
        for at, text in zip(ticks, _texts(ticks, step), strict=True):
            column = self._left + self._x_scale.place(at, self._columns)
            start = min(column - len(text) // 2, len(self._grid[0]) - len(text))
            if at <= last and start >= free:
                _put(self._grid, self._rows, column, tick_below)
                _put(self._grid, self._rows + 1, start, text)
                free = start + len(text) + 1

    def line(self, index: int, piece: Sequence[_Point], *, dashed: bool) -> None:
        """Points joined. The plain curve lies in a band of its extremes; a dashed one leaves every other cell out."""
        across, down = self._glyphs.dots
        columns = self._by_column(piece)
        dots = {(x, self._y(point.y)) for x, point in columns}
        for (x0, a), (x1, b) in pairwise(columns):
            dots |= _between(x0, self._y(a.y), x1, self._y(b.y))
        if dashed:
            self._fill(index, {(x, y) for x, y in dots if (x // across + index) % 2}, self._glyphs.dashes)
            return
        band = {(x, y) for x, point in columns for y in range(self._y(point.high), self._y(point.low) + 1)}
        for x, y in band if self._glyphs.band else ():
            self._cell(y // down, x // across, self._glyphs.band, index)
        sparse = set() if self._glyphs.band else {(x, y) for x, y in band if not y % 2 and (x + y // 2) % 2}
        self._fill(index, dots | sparse, self._glyphs.cells)
        if len(columns) == 1:  # else hard to see
            ((x, point),) = columns
            self._cell(self._y(point.y) // down, x // across, self._glyphs.plain[1], index)

    def marks(self, index: int, points: Sequence[_Point], mark: str, *, every: int) -> None:
        """A mark on each point that is at least `every` cells behind the one before."""
        before = -every
        for point in points:
            column = self._x_scale.place(point.x, self._columns)
            if column - before >= every:
                self._cell(self._y(point.y) // self._glyphs.dots[1], column, mark, index)
                before = column

    def clipped(self, index: int, points: Sequence[_Point]) -> None:
        """Says on the edge where points lie beyond it."""
        for point in points:
            column = self._x_scale.place(point.x, self._columns)
            if point.high > self._y_scale.high:
                self._cell(0, column, self._glyphs.clipped[0], index)
            if point.low < self._y_scale.low:
                self._cell(self._rows - 1, column, self._glyphs.clipped[1], index)

    def _by_column(self, piece: Sequence[_Point]) -> list[tuple[int, _Point]]:
        """One point for each column of dots that has any."""
        found: dict[int, list[_Point]] = {}
        for point in piece:
            found.setdefault(self._x_scale.place(point.x, self._columns * self._glyphs.dots[0]), []).append(point)
        return [
            (x, _Point(x, median(p.y for p in group), min(p.low for p in group), max(p.high for p in group)))
            for x, group in found.items()
        ]

    def _y(self, value: float) -> int:
        """The row of dots of a value, counted from the top."""
        rows = self._rows * self._glyphs.dots[1]
        return rows - 1 - self._y_scale.place(value, rows)

    def _fill(self, index: int, dots: Iterable[tuple[int, int]], looks: str) -> None:
        across, down = self._glyphs.dots
        bits: dict[tuple[int, int], int] = {}
        for x, y in dots:
            cell = y // down, x // across
            bits[cell] = bits.get(cell, 0) | 1 << (y % down * across + x % across)
        for (row, column), drawn in bits.items():
            self._cell(row, column, looks[drawn], index)

    def _cell(self, row: int, column: int, character: str, index: int) -> None:
        self._grid[row][self._left + column] = (character, index)


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and -_HUGE < value < _HUGE  # false for NaN


def _plain(curves: Sequence[Curve]) -> int:
    """Which curve is drawn as a plain line: the first unmarked one, -1 if none is."""
    return next((i for i, curve in enumerate(curves) if not curve.marked), -1)


def _pieces(curve: Curve, log: bool, *, extremes: bool) -> list[list[_Point]]:
    """The points by ascending step, parted where there are gaps."""
    low, high = (curve.low or curve.values, curve.high or curve.values) if extremes else (curve.values, curve.values)
    pieces: list[list[_Point]] = [[]]
    for step, value, *rest in sorted(zip(curve.steps, curve.values, low, high, strict=True), key=lambda row: row[0]):
        if not _known(value) or (log and value < _TINY):
            pieces.append([])
            continue
        behind = [value, *(v for v in rest if _known(v) and (v >= _TINY or not log))]
        pieces[-1].append(_Point(step, value, min(behind), max(behind)))
    return [piece for piece in pieces if piece]


def _fence(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values without spikes: those further out than 1.5 times the span of the middle 90 %."""
    ordered = sorted(values)
    last = len(ordered) - 1
    low, high = ordered[math.ceil(last * 0.05)], ordered[int(last * 0.95)]
    reach = 1.5 * (high - low)
    if last < 7 or reach <= 0:  # too few to call one a spike, or nothing beside it that it could flatten
        return ordered[0], ordered[-1]
    return min(v for v in ordered if v >= low - reach), max(v for v in ordered if v <= high + reach)


def _range(pieces: Sequence[Sequence[Sequence[_Point]]], log: bool) -> _Scale:
    """The scale that holds every curve. A curve has its own fence: eight held-out values are not spikes of the rest."""
    several = [[v for piece in curve for p in piece for v in {p.low, p.y, p.high}] for curve in pieces if curve]
    fences = [(min(values), max(values)) if log else _fence(values) for values in several]
    low, high = min(low for low, _ in fences), max(high for _, high in fences)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _TINY):
        pad = abs(low) * 0.1 if abs(low) >= _TINY else 1.0
        low, high = low - pad, high + pad
    return _Scale(low, high, log)


def _ticks(scale: _Scale, count: int, least: float = 0.0) -> tuple[list[float], float]:
    """At most `count` round numbers on the scale where two or more fit, and the step between them, `least` or more."""
    power = math.floor(math.log10(scale.high - scale.low))
    best: tuple[list[float], float] = [], 1.0
    for step in (factor * 10.0**exponent for exponent in range(power, power - 3, -1) for factor in (5, 2, 1)):
        first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
        if step < least or (last - first >= count and len(best[0]) > 1):
            break
        best = [i * step for i in range(first, last + 1)], step
    return best


def _texts(ticks: Sequence[float], step: float) -> list[str]:
    """The ticks in one unit and with as many decimals as tell them apart."""
    top = max(map(abs, ticks))
    power = math.floor(math.log10(top))
    unit, suffix = 1.0, ""
    if 4 <= power < 15:
        unit, suffix = 10.0 ** (power // 3 * 3), "kMGT"[power // 3 - 1]
    elif not -3 <= power < 4:
        unit, suffix = 10.0**power, f"e{power}"
    decimals = max(0, -math.floor(math.log10(step / unit * 1.001)))
    return [f"{tick / unit:.{decimals}f}{suffix}" if tick else "0" for tick in ticks]


def _y_labels(scale: _Scale, rows: int) -> dict[int, str]:
    """Labels by row from the top; of two ticks on one row the first is shown."""
    ticks: list[float] = []
    if scale.log:
        first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
        decades = range(first, last + 1, max((last - first) * 2 // rows, 1))
        every = [10.0**power * factor for power in decades for factor in ((1,) if last - first > 3 else (1, 2, 5))]
        ticks = [tick for tick in every if scale.low <= tick <= scale.high]
    texts = [compact(tick) for tick in ticks]
    if len(ticks) < 2:
        ticks, step = _ticks(scale, rows * 2 // 3 + 1)
        texts = _texts(ticks, step)
    labels: dict[int, str] = {}
    for tick, text in zip(ticks, texts, strict=True):
        labels.setdefault(rows - 1 - scale.place(tick, rows), text)
    return labels


def _between(x0: int, y0: int, x1: int, y1: int) -> set[tuple[int, int]]:
    """The dots of a straight line."""
    count = max(abs(x1 - x0), abs(y1 - y0), 1)
    return {(x0 + round((x1 - x0) * i / count), y0 + round((y1 - y0) * i / count)) for i in range(count + 1)}


def _put(grid: list[list[Cell]], row: int, column: int, text: str) -> None:
    """Text of the frame, cut at the edge."""
    for at, character in enumerate(text, column):
        if row < len(grid) and at < len(grid[row]):
            grid[row][at] = (character, AXIS)
