"""Lines of plain spans: only those that changed are painted again, which is what a slow link needs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

Span = tuple[str, str]  # text, name of a style
Line = Sequence[Span]

# Attributes and the terminal's own sixteen colours; meaning never rests on the colour alone.
STYLES = {
    "": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "accent": Style(color="cyan", bold=True),
    "good": Style(color="green"),
    "trouble": Style(color="red", bold=True),
    "warn": Style(color="yellow"),
    "chosen": Style(reverse=True),
}


def width_of(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(text) for text, _ in line)


def fitted(text: str, width: int) -> str:
    """`text` cut or filled with spaces to `width` cells; a cut shows an ellipsis."""
    if cell_len(text) > width > 0:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, max(width, 0))


class Lines(Widget):
    """Shows lines; what does not fit is cut. `show` paints only the lines that differ."""

    DEFAULT_CSS = "Lines { height: auto; }"

    def __init__(self, *, id: str | None = None, rows: int | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Line] = []
        if rows is not None:
            self.styles.height = rows

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines."""
        before, self._lines = self._lines, list(lines)
        if len(before) != len(self._lines) and self.styles.height is not None and self.styles.height.is_auto:
            self.refresh(layout=True)
            return
        for y in range(max(len(before), len(self._lines))):
            old = before[y] if y < len(before) else None
            new = self._lines[y] if y < len(self._lines) else None
            if old != new:
                self._repaint(y)

    def _repaint(self, y: int) -> None:
        self.refresh(Region(0, y, self.size.width, 1))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return len(self._lines)

    def line_at(self, y: int) -> tuple[Line, bool]:
        """The line drawn at row `y` of the widget, and whether it is the chosen one."""
        return (self._lines[y] if y < len(self._lines) else (), False)

    def render_line(self, y: int) -> Strip:
        line, chosen = self.line_at(y)
        base = self.rich_style + (STYLES["chosen"] if chosen else STYLES[""])
        segments = [Segment(text, base + STYLES[style]) for text, style in line]
        return Strip(segments).adjust_cell_length(self.size.width, base)


class Picker(Lines, can_focus=True):
    """Lines of which one is chosen, by keys or by a click; scrolls to keep it in sight."""

    BINDINGS = [
        ("up,k", "move(-1)"), ("down,j", "move(1)"), ("pageup,ctrl+b", "move(-10)"), ("pagedown,ctrl+f", "move(10)"),
        ("home,g", "move(-1000000)"), ("end,G", "move(1000000)"),
    ]  # fmt: skip
    DEFAULT_CSS = "Picker { height: 1fr; }"

    class Moved(Message):
        """Another line is chosen."""

        def __init__(self, picker: Picker) -> None:
            super().__init__()
            self.picker = picker

        @property
        def control(self) -> Picker:
            return self.picker

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chosen = 0
        self._top = 0

    def show(self, lines: Sequence[Line]) -> None:
        before = self._top
        self._lines, old = list(lines), self._lines
        self.chosen = min(self.chosen, max(len(lines) - 1, 0))
        self._scroll()
        if self._top != before:
            self.refresh()
            return
        for index in range(max(len(old), len(lines))):
            if index >= len(old) or index >= len(lines) or old[index] != lines[index]:
                self._repaint(index - self._top)

    def choose(self, index: int) -> None:
        """Choose a line."""
        before, top = self.chosen, self._top
        self.chosen = min(max(index, 0), max(len(self._lines) - 1, 0))
        self._scroll()
        if self._top != top:
            self.refresh()
        elif before != self.chosen:
            self._repaint(before - top)
            self._repaint(self.chosen - top)
        if before != self.chosen:
            self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        self.choose(self.chosen + by)

    def line_at(self, y: int) -> tuple[Line, bool]:
        index = y + self._top
        return (self._lines[index] if index < len(self._lines) else (), bool(self._lines) and index == self.chosen)

    def on_click(self, event: Click) -> None:
        self.choose(event.y + self._top)

    def on_resize(self) -> None:
        self._scroll()
        self.refresh()

    def _scroll(self) -> None:
        height = max(self.size.height, 1)
        if self.chosen < self._top:
            self._top = self.chosen
        elif self.chosen >= self._top + height:
            self._top = self.chosen - height + 1
        self._top = max(min(self._top, len(self._lines) - height), 0)
