"""Home: the box, the runs, what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widget import Widget

from trainer.planning.next_step import next_step
from tui import glyphs, present
from tui.screens.base import BurnishScreen, bindings_of
from tui.widgets.lines import Line, Lines, Picker


class HomeScreen(BurnishScreen):
    """The box above, the runs below it, one sentence of advice at the bottom."""

    NAME = "home"
    BINDINGS = bindings_of("home")

    def body(self) -> Sequence[Widget]:
        return (Lines(id="box"), Lines(id="runs-rule", rows=1), Picker(id="runs"), Lines(id="next", rows=2))

    def on_mount(self) -> None:
        self.query_one(Picker).focus()

    def heading(self) -> tuple[str, str]:
        snapshot, runs = self.station.snapshot, self.station.runs
        live = sum(run.live for run in runs)
        host = snapshot.host.name if snapshot else ""
        gpus = f" · {len(snapshot.gpus)} GPU{'s' * (len(snapshot.gpus) != 1)}" if snapshot and snapshot.gpus else ""
        return f"{host}{gpus}", f"{live} running · {len(runs)} runs"

    def reason(self, action: str) -> str:
        return "there are no runs yet" if action == "open_run" and not self.station.runs else ""

    def tick(self) -> None:
        width, style = self.size.width, self.station.glyphs
        snapshot, runs = self.station.snapshot, self.station.runs
        box: list[Line]
        if snapshot is None:
            box = [[(" reading the box", "dim")]]
        else:
            title = "GPUs" if snapshot.gpus else "No GPU: memory and processor of the machine"
            box = [
                [(glyphs.rule(title, width, style), "dim")],
                *present.gpu_lines(snapshot, present.owners_of(runs), width, style),
                *present.host_lines(snapshot.host, bool(snapshot.gpus), width, style),
            ]
        self.query_one("#box", Lines).show(box)
        self.query_one("#runs-rule", Lines).show([[(glyphs.rule("Runs", width, style), "dim")]])
        self.query_one("#runs", Picker).show([present.run_line(run, width, style) for run in runs])
        self.query_one("#next", Lines).show(
            [[(glyphs.rule("Next", width, style), "dim")], [(f" {next_step(snapshot, runs)}", "")]]
        )

    def action_open_run(self) -> None:
        self.station.open_run(self.station.runs[self.query_one(Picker).chosen].id)
