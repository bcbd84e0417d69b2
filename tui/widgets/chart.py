"""A chart that fills its place; only the lines of it that changed are painted again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tui.glyphs import Style
from tui.plot import AXIS, Curve, marks, plot
from tui.widgets.lines import Line, Lines, Span

_COLOURS = ("accent", "warn", "good")


class Chart(Lines):
    """Draws curves over steps, again when its size changes. Each curve has a mark of its own beside its colour."""

    DEFAULT_CSS = "Chart { height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawn: tuple[str, Sequence[Curve], Style, bool] | None = None

    def draw(self, title: str, curves: Sequence[Curve], style: Style, *, log: bool = False) -> None:
        """Show the curves under a line that names them and how each is drawn; `log` for a logarithmic value axis."""
        self._drawn = title, curves, style, log
        head: list[Span] = [(f" {title}  ", "bold")]
        for index, (curve, mark) in enumerate(zip(curves, marks(curves, style), strict=True)):
            head.append((f"{mark} {curve.name}  ", _colour(index)))
        width, height = self.size
        lines: list[Line] = [head]
        for row in plot(curves, width, max(height - 1, 0), style, log=log):
            spans = groupby(row, key=lambda cell: cell[1])
            lines.append([("".join(character for character, _ in cells), _colour(index)) for index, cells in spans])
        self.show(lines)

    def on_resize(self) -> None:
        if self._drawn:
            title, curves, style, log = self._drawn
            self.draw(title, curves, style, log=log)


def _colour(index: int) -> str:
    return "dim" if index == AXIS else _COLOURS[index % len(_COLOURS)]
