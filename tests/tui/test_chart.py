"""The chart as Textual draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult
from textual.strip import Strip

from tui.glyphs import Style
from tui.plot import Curve
from tui.widgets.chart import Chart

STEPS = range(400)
TRAIN = Curve("train", STEPS, [0.6 + 2 * math.exp(-step / 80) for step in STEPS])
HELD_OUT = Curve("held out", STEPS[49::50], [0.7 + 2 * math.exp(-step / 80) for step in STEPS[49::50]], marked=True)
BOTH = (TRAIN, HELD_OUT)


class Watched(Chart):
    """A chart that remembers which of its rows were painted."""

    painted: list[int] = []

    def render_line(self, y: int) -> Strip:
        self.painted.append(y)
        return super().render_line(y)


class Alone(App[None]):
    """One chart and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.chart = Watched()
        self.chart.painted = []

    def compose(self) -> ComposeResult:
        yield self.chart


def rows(chart: Chart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


@pytest.mark.parametrize("style", ["braille", "block", "ascii"])
@pytest.mark.parametrize("size", [(46, 8), (100, 16)])
async def test_it_fills_its_place_and_names_its_curves(size: tuple[int, int], style: Style) -> None:
    app = Alone()
    async with app.run_test(size=size) as pilot:
        app.chart.draw("loss", BOTH, style)
        await pilot.pause()
        drawn = rows(app.chart)
    assert [len(line) for line in drawn] == [size[0]] * size[1]
    line, mark = ("*", "o") if style == "ascii" else ("―", "◆")
    assert drawn[0].split("  ")[:3] == [" loss", f"{line} train", f"{mark} held out"]
    assert sum(row.count(mark) for row in drawn[1:-2]) == 8  # one for each evaluation
    assert drawn[-1].split()[-1] in ("350", "300")
    if style == "ascii":
        assert "".join(drawn).isascii()


async def test_curves_differ_in_colour_too() -> None:
    app = Alone()
    async with app.run_test(size=(46, 8)):
        app.chart.draw("loss", BOTH, "braille")
        styles = {segment.text.strip(): segment.style for segment in app.chart.render_line(0)}
    train, held_out = styles["― train"], styles["◆ held out"]
    assert train is not None and held_out is not None and train.color != held_out.color


async def test_the_same_data_paints_nothing_and_a_new_point_only_what_it_touches() -> None:
    def repainted() -> Sequence[int]:
        seen, app.chart.painted = sorted(set(app.chart.painted)), []
        return seen

    app = Alone()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.draw("loss", BOTH, "braille")
        await pilot.pause()
        assert repainted() == list(range(24))
        app.chart.draw("loss", [Curve("train", list(STEPS), list(TRAIN.values)), HELD_OUT], "braille")
        await pilot.pause()
        assert repainted() == []
        moved = Curve("held out", HELD_OUT.steps, [*HELD_OUT.values[:-1], 1.5], marked=True)
        app.chart.draw("loss", [TRAIN, moved], "braille")
        await pilot.pause()
        assert len(repainted()) == 2  # the row that the mark left and the row it came to


async def test_it_draws_itself_again_in_another_size() -> None:
    app = Alone()
    app.chart.draw("loss", BOTH, "braille")  # before it has a place
    async with app.run_test(size=(46, 8)) as pilot:
        await pilot.pause()
        assert "◆" in "".join(rows(app.chart)[1:])
        await pilot.resize_terminal(100, 16)
        await pilot.pause()
        grown = rows(app.chart)
    assert [len(line) for line in grown] == [100] * 16
    assert sum(row.count("◆") for row in grown[1:]) == 8


async def test_without_readings_it_says_so() -> None:
    app = Alone()
    async with app.run_test(size=(46, 8)):
        app.chart.draw("loss", [], "ascii")
        assert rows(app.chart)[1].strip() == "no readings yet"


async def test_a_logarithmic_axis_outlives_a_resize() -> None:
    app = Alone()
    falling = Curve("loss", range(5), [10.0**-power for power in range(5)])
    async with app.run_test(size=(46, 16)) as pilot:
        app.chart.draw("loss", [falling], "ascii", log=True)
        await pilot.resize_terminal(60, 14)
        await pilot.pause()
        assert any(row.strip().startswith("0.01+") for row in rows(app.chart))
