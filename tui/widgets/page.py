"""A long text that scrolls: lines as `Lines` shows them, from any of them on."""

from __future__ import annotations

from collections.abc import Sequence

from tui.widgets.lines import Line, Lines


class Page(Lines, can_focus=True):
    """Shows as many of its lines as fit, and scrolls by keys."""

    BINDINGS = [
        ("up,k", "scroll_by(-1)"), ("down,j", "scroll_by(1)"), ("pageup,ctrl+b", "scroll_by(-10)"),
        ("pagedown,ctrl+f", "scroll_by(10)"), ("home,g", "scroll_by(-100000000)"), ("end,G", "scroll_by(100000000)"),
    ]  # fmt: skip
    DEFAULT_CSS = "Page { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top = 0

    def show(self, lines: Sequence[Line], top: int = 0) -> None:
        """Replace the lines and begin at `top`."""
        self._lines = list(lines)
        self.top = 0
        self.action_scroll_by(top)
        self.refresh()

    def line_at(self, y: int) -> tuple[Line, bool]:
        index = y + self.top
        return (self._lines[index] if index < len(self._lines) else (), False)

    def action_scroll_by(self, by: int) -> None:
        before = self.top
        self.top = max(min(self.top + by, len(self._lines) - max(self.size.height, 1)), 0)
        if self.top != before:
            self.refresh()

    def on_resize(self) -> None:
        self.action_scroll_by(0)
        self.refresh()
