"""The monitor of one run: the verdict in words, the curves, samples, log or verdicts, and what can be asked of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

from textual.containers import Horizontal
from textual.widget import Widget

from recipes.errors import BurnishError
from trainer.runs import control
from trainer.runs.folder import RunFolder
from trainer.runs.health import Finding, in_words, of_view
from trainer.runs.launch import resume
from trainer.runs.model import Event, RunView
from trainer.runs.reader import RunReader
from trainer.runs.rollouts import why_none
from trainer.text import clean, one_line
from tui import charts, glyphs
from tui.headline import headline
from tui.plot import sparkline
from tui.present import box_lines
from tui.screens.base import BurnishScreen, bindings_of, title_line
from tui.screens.modals import Confirm
from tui.units import compact, duration
from tui.verdicts import checks_of, tone, utilization_of, verdict_lines
from tui.widgets.chart import Chart
from tui.widgets.lines import Line, Lines, fitted

_CHART_S = 3.0  # with every new step the whole chart moves: on a slow link it is the dearest thing on the screen


class MonitorScreen(BurnishScreen):
    """Follows one run; reading happens in a thread, drawing once a second."""

    NAME = "monitor"
    BINDINGS = bindings_of("monitor")
    DEFAULT_CSS = """
    MonitorScreen #middle { height: 1fr; }
    MonitorScreen #side { width: 30; height: 100%; }
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self._run = run
        self._reader = RunReader(run)
        self._view: RunView | None = None
        self._log: list[str] = []
        self._recipe = run.record().get("recipe", {})
        self._checks = checks_of(self._recipe)
        self._found: list[Finding] = []
        self._pane: Literal["samples", "log", "verdicts"] = "samples"
        self._title = ""  # of the picture that is shown; empty for the first
        self._drawn: tuple[str, bool, bool] | None = None
        self._drawn_at = 0.0
        self._reading = False

    def body(self) -> Sequence[Widget]:
        return (
            Lines(id="progress", rows=1),
            Lines(id="health", rows=1),
            Horizontal(Chart(id="chart"), Lines(id="side"), id="middle"),
            Lines(id="below", rows=6),
        )

    def heading(self) -> tuple[str, str]:
        view = self._view
        base = one_line(str(self._recipe.get("model", {}).get("base", "")).rstrip("/").rpartition("/")[2])
        name = f"{self._run.record().get('name')} · {one_line(str(self._recipe.get('name', '')))} on {base}"
        if view is None:
            return name, "reading"
        silent = view.summary.age()
        last = f"last event {duration(silent)} ago" if silent is not None and view.summary.live else ""
        return name, last or view.summary.state

    def reason(self, action: str) -> str:
        view = self._view
        if view is None:
            return "the run is being read" if action in _ASKS or action == "resume" else ""
        live, phase = view.summary.live, view.summary.phase
        if action in _ASKS and not live:
            return f"the run is {view.summary.state}"
        if action == "pause" and phase == "paused":
            return "it is paused already"
        if action == "go_on" and phase != "paused":
            return "it is not paused"
        if action == "resume":
            if live:
                return "the run is live"
            if view.summary.verdict and view.summary.verdict.kind == "completed":
                return "the run is complete"
            return "" if self._run.latest_checkpoint() else "it has no checkpoint"
        return why_none(self._run) if action == "rollouts" else ""

    def tick(self) -> None:
        if not self._reading:
            self._reading = True  # one reader at a time: the log is read by offset
            self.run_worker(self._read(), group="read")

    async def _read(self) -> None:
        try:
            if self._view is None:
                self._view = await asyncio.to_thread(self._reader.open)
            else:
                if not self._view.complete:
                    await asyncio.to_thread(self._refine)
                self._view = await asyncio.to_thread(self._reader.poll)
            self._log = await asyncio.to_thread(self._reader.tail_log, 40)
        finally:
            self._reading = False
        self._draw()

    def _refine(self) -> None:
        for _ in range(8):
            if not self._reader.refine():
                return

    def _draw(self) -> None:
        view, width, style = self._view, self.size.width, self.station.glyphs
        if view is None or not self.is_mounted:
            return
        self.query_one("#progress", Lines).show([self._progress(view, width, style)])
        busy = utilization_of(self.station.snapshot, view.summary.trainer_pid)
        self._found = of_view(view, self._checks, utilization=busy)
        words = fitted(f" {in_words(view, found=self._found)}", width)
        self.query_one("#health", Lines).show([[(words, tone(view, self._found))]])
        self._draw_chart(view, style)
        self.query_one("#side", Lines).show(self._figures(view, style))
        self._draw_pane(view, width, style)
        left, right = self.heading()
        self.query_one("#title", Lines).show([title_line(left, right, width)])

    def _draw_chart(self, view: RunView, style: glyphs.Style) -> None:
        picture = self._picture(view)
        drawn = (picture.title, view.complete, view.summary.live)
        if drawn != self._drawn or time.monotonic() - self._drawn_at >= _CHART_S:
            self._drawn, self._drawn_at = drawn, time.monotonic()
            curves = charts.curves(picture, view.series, view.memory)
            self.query_one("#chart", Chart).draw(picture.title, curves, style)

    def _pictures(self, view: RunView) -> list[charts.Picture]:
        return charts.pictures(view.summary.method, view.series, self._checks)

    def _picture(self, view: RunView) -> charts.Picture:
        pictures = self._pictures(view)
        return next((picture for picture in pictures if picture.title == self._title), pictures[0])

    def _draw_pane(self, view: RunView, width: int, style: glyphs.Style) -> None:
        height = self.size.height
        rows = {"samples": min(6, 2 + len(_newest(view))), "log": max(6, height // 3), "verdicts": height // 2}[
            self._pane
        ]
        below = self.query_one("#below", Lines)
        below.styles.height = max(rows, 4)
        if self._pane == "verdicts":
            below.show(verdict_lines(self._found, width, rows, style))
        else:
            below.show(
                self._log_lines(width, rows, style) if self._pane == "log" else self._samples(view, width, style)
            )

    def _progress(self, view: RunView, width: int, style: glyphs.Style) -> Line:
        summary = view.summary
        total = summary.total_steps or 0
        share = summary.step / total if total else 0.0
        steps = f" step {summary.step}/{total or '?'} "
        eta = f"eta {duration(summary.eta_s)}" if summary.eta_s and summary.live else ""
        newest = {name: series.last[-1] for name, series in view.series.items() if series.last}
        number = headline(summary.method, newest, summary.loss)
        state = f"{summary.state}{': ' + summary.phase if summary.phase else ''}"
        end = " " + "  ".join(part for part in (eta, number, state) if part)
        room = max(width - len(steps) - len(end) - 2, 8)
        return [(steps, "bold"), (glyphs.bar(share, room, style), "accent"), (end, "")]

    def _figures(self, view: RunView, style: glyphs.Style) -> list[Line]:
        lines: list[Line] = []
        for label, series in charts.figures(view.summary.method, view.series):
            drawn = sparkline(series.last[-120:], 11, style)
            lines.append([(f" {label:<9} ", "dim"), (f"{compact(series.last[-1]):>7} ", "bold"), (drawn, "accent")])
        if split := charts.split_line(view.series):
            lines.append(split)
        if view.memory:
            newest = view.memory[-1]
            lines.append([(" run RAM  ", "dim"), (f"{newest['host_rss_gib']:>6.2f} GiB", "bold")])
            if newest.get("reserved_gib") is not None:
                held, peak = newest["reserved_gib"], newest["peak_gib"]
                lines.append([(" run GPU  ", "dim"), (f"{held:>6.2f} GiB", "bold"), (f" peak {peak:.1f}", "")])
        lines += box_lines(self.station.snapshot, style)
        if model := view.facts.get("model"):
            lines.append(
                [(" trained  ", "dim"), (f"{model['trainable_share']:>6.2%} of {compact(model['parameters'])}", "")]
            )
        if data := view.facts.get("data"):
            lines.append([(" rows     ", "dim"), (f"{data['train_rows']} + {data['eval_rows']} held out", "")])
        if saved := view.facts.get("checkpoint"):
            lines.append([(" saved    ", "dim"), (f"step {saved['step']}", "")])
        return lines

    def _samples(self, view: RunView, width: int, style: glyphs.Style) -> list[Line]:
        newest = _newest(view)
        if view.alerts and not newest:
            return [[(f" {one_line(str(event.get('message')), width - 2)}", "trouble")] for event in view.alerts[-5:]]
        if not newest:
            return [[(glyphs.rule("Log", width, style), "dim")], *self._log_lines(width, 5, style)[1:]]
        lines: list[Line] = [[(glyphs.rule(f"Samples at step {newest[0]['step']}", width, style), "dim")]]
        cells = max((width - 16) // 3, 8)
        for event in newest:
            prompt = fitted(one_line(event["prompt"]), cells)
            lines.append(
                [(f" {prompt}", "dim"), (" got ", ""), (fitted(one_line(event["completion"]), cells), "bold"),
                 (" want ", ""), (fitted(one_line(event["reference"]), cells), "dim")]
            )  # fmt: skip
        return lines

    def _log_lines(self, width: int, rows: int, style: glyphs.Style) -> list[Line]:
        lines: list[Line] = [[(glyphs.rule("Log", width, style), "dim")]]
        for text in self._log[-(rows - 1) :]:
            lines.append([(fitted(f" {one_line(clean(text))}", width), "")])
        return lines

    def _ask(self, what: control.Request) -> None:
        try:
            control.request(self._run, what)
            self.say(f"asked to {what}: it answers after the step it is in")
        except BurnishError as error:
            self.say_error(error)

    def action_save(self) -> None:
        self._ask("save")

    def action_evaluate(self) -> None:
        self._ask("evaluate")

    def action_pause(self) -> None:
        self._ask("pause")

    def action_go_on(self) -> None:
        self._ask("continue")

    def action_stop(self) -> None:
        def act(yes: bool | None) -> None:
            if yes:
                self._ask("stop")

        text = "It finishes the step, saves a checkpoint and ends; `r` resumes it later."
        self.app.push_screen(Confirm(f"Stop {self._run.id}?", text), act)

    def action_stop_now(self) -> None:
        def act(yes: bool | None) -> None:
            if not yes:
                return
            try:
                control.kill_now(self._run)
                self.say("killed; its checkpoints stay")
            except BurnishError as error:
                self.say_error(error)

        text = "The trainer ends at once. What was learned since the last checkpoint is lost."
        self.app.push_screen(Confirm(f"Kill {self._run.id} now?", text), act)

    async def action_resume(self) -> None:
        try:
            await asyncio.to_thread(resume, self._run)
            self.say("resumed from the newest checkpoint")
        except BurnishError as error:
            self.say_error(error)

    def action_log(self) -> None:
        self._pane = "samples" if self._pane == "log" else "log"
        self._draw()

    def action_verdicts(self) -> None:
        self._pane = "samples" if self._pane == "verdicts" else "verdicts"
        self._draw()

    def action_metric(self) -> None:
        if self._view:
            titles = [picture.title for picture in self._pictures(self._view)]
            self._title = titles[(titles.index(self._picture(self._view).title) + 1) % len(titles)]
        self._draw()

    def action_previous(self) -> None:
        self._neighbour(1)

    def action_next(self) -> None:
        self._neighbour(-1)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._run.id)
        self.say(f"copied {self._run.id}")

    def action_rollouts(self) -> None:
        from tui.screens.rollouts import RolloutsScreen

        self.app.push_screen(RolloutsScreen(self._run))

    def _neighbour(self, by: int) -> None:
        ids = [run.id for run in self.station.runs]
        at = ids.index(self._run.id) + by if self._run.id in ids else -1
        if not 0 <= at < len(ids):
            self.say("there is no other run that way")
            return
        self.app.pop_screen()
        self.station.open_run(ids[at])


_ASKS = ("stop", "stop_now", "save", "evaluate", "pause", "go_on")


def _newest(view: RunView) -> list[Event]:
    """The answers of the newest evaluation, three at most."""
    if not view.samples:
        return []
    step = view.samples[-1]["step"]
    return [event for event in view.samples if event["step"] == step][:3]
