"""Runs: all of them, newest first, those that went on from another under it, with a filter."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widget import Widget

from trainer.runs.model import RunSummary
from trainer.runs.registry import families
from tui import present
from tui.screens.base import BurnishScreen, bindings_of
from tui.screens.modals import Ask
from tui.widgets.lines import Picker


class RunsScreen(BurnishScreen):
    """The list of runs; Enter opens the monitor of one."""

    NAME = "runs"
    BINDINGS = bindings_of("runs")
    _filter = ""

    def body(self) -> Sequence[Widget]:
        return (Picker(id="runs"),)

    def on_mount(self) -> None:
        self.query_one(Picker).focus()

    def heading(self) -> tuple[str, str]:
        found = self._found()
        shown = f"filter: {self._filter}" if self._filter else ""
        return "Runs", f"{shown}  {len(found)} of {len(self.station.runs)}"

    def reason(self, action: str) -> str:
        if action not in ("open_run", "filter"):
            return ""
        if not self.station.runs:
            return "there are no runs yet"
        return "no run fits the filter" if action == "open_run" and not self._found() else ""

    def tick(self) -> None:
        width, style = self.size.width, self.station.glyphs
        lines = [present.run_line(run, width, style, depth=depth) for depth, run in families(self._found())]
        self.query_one(Picker).show(lines or [[(" no runs yet: 3 picks a recipe", "dim")]])

    def action_open_run(self) -> None:
        _, run = families(self._found())[self.query_one(Picker).chosen]
        self.station.open_run(run.id)

    def action_filter(self) -> None:
        def take(text: str | None) -> None:
            if text is not None:
                self._filter = text.strip()
                self._tick()

        self.app.push_screen(Ask("Show runs that hold", self._filter, "in name, method, state or verdict"), take)

    def _found(self) -> list[RunSummary]:
        def text(run: RunSummary) -> str:
            return f"{run.id} {run.method} {run.state} {run.verdict.message if run.verdict else ''}".lower()

        return [run for run in self.station.runs if self._filter.lower() in text(run)]
