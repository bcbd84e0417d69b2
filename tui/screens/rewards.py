"""Rewards, tested: right answers and tricks at once, fresh completions on demand, and what is behind every number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widget import Widget

from recipes.errors import BurnishError
from recipes.loading import Loaded
from trainer.evaluation.draw import Drawing
from trainer.rewards import completions
from trainer.rewards.completions import Source, Task
from trainer.rewards.report import Finding, Scored
from trainer.rewards.trial import Trial, try_rewards
from trainer.text import one_line
from tui import glyphs
from tui import present_rewards as show
from tui.screens.base import BurnishScreen, bindings_of
from tui.screens.modals import wrapped
from tui.widgets.lines import Line, Lines, Picker
from tui.widgets.page import Page
from tui.wrap import wrapped_spans

_BEHIND = 100  # completions that are shown behind a row
_STYLES = {"stop": "trouble", "warn": "warn", "info": ""}


class _Behind(NamedTuple):
    """The completions behind a row, and which of them in which order."""

    title: str
    scored: Scored
    at: Sequence[int]


class _Row(NamedTuple):
    line: Line
    hint: str = ""
    behind: _Behind | None = None


class RewardsScreen(BurnishScreen):
    """The rewards of one recipe. Leaving it ends what is being drawn."""

    NAME = "rewards"
    BINDINGS = bindings_of("rewards")

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self._recipe = loaded.recipe
        self._tasks: list[Task] = []
        self._trial: Trial | None = None
        self._rows: list[_Row] = []
        self._doing = "scoring right answers and tricks"
        self._drawing: Drawing | None = None
        self._left = False

    def body(self) -> Sequence[Widget]:
        return (Lines(id="verdict", rows=2), Picker(id="rows"), Lines(id="hint", rows=4))

    def on_mount(self) -> None:
        self.query_one(Picker).focus()
        self.run_worker(self._work(self._begin))

    def on_unmount(self) -> None:
        self._left = True
        if self._drawing is not None:
            self._drawing.cancel()

    def heading(self) -> tuple[str, str]:
        source = self._trial.report.source if self._trial else ""
        return f"Rewards of {one_line(self._recipe.name)}", self._doing or one_line(source, 40)

    def reason(self, action: str) -> str:
        if action == "draw" and self._doing:
            return f"it is {self._doing}"
        if action == "draw" and self._trial is None:
            return "the rewards cannot be tested"
        if action == "behind" and (row := self._row()) is not None and row.behind is None:
            return "there are no completions behind this row"
        return "there is nothing to see yet" if action == "behind" and self._row() is None else ""

    def tick(self) -> None:
        width = self.size.width
        if self._trial is not None:
            self._rows = _rows(self._trial, width, self.station.glyphs)
            told = wrapped(one_line(self._trial.verdict), width - 2)
            style = "trouble" if self._trial.serious else "good"
            self.query_one("#verdict", Lines).show([[(f" {line[0][0]}", style)] for line in told[:2]])
        self.query_one(Picker).show([row.line for row in self._rows])
        self._explain()

    def on_picker_moved(self) -> None:
        self._explain()

    def _explain(self) -> None:
        row, width = self._row(), self.size.width
        title = "what to do" if row and row.hint else "Enter shows the completions" if row and row.behind else ""
        rule = glyphs.rule(title, width, self.station.glyphs) if title else ""
        hint = [[(" ", ""), *line] for line in wrapped(row.hint, width - 2)] if row else []
        self.query_one("#hint", Lines).show([[(rule, "dim")], *hint][:4])

    def _row(self) -> _Row | None:
        chosen = self.query_one(Picker).chosen
        return self._rows[chosen] if chosen < len(self._rows) else None

    async def _work(self, job: Callable[[], Trial]) -> None:
        """Run a job in a thread and show the trial that it gives."""
        try:
            self._trial = await asyncio.to_thread(job)
        except BurnishError as error:
            self.say_error(error)
        finally:
            self._doing = ""
        if self.is_mounted:
            self._tick()

    def _begin(self) -> Trial:
        tasks = completions.tasks_of(self._recipe)
        self._tasks = completions.drawn_from(tasks, completions.PROMPTS, self._recipe.training.data_seed)
        return try_rewards(self._recipe, self._tasks)

    def _fresh(self) -> Trial:
        return try_rewards(self._recipe, self._tasks, self._drawn())

    def _drawn(self) -> Source:
        def tell(text: str) -> None:
            self._doing = one_line(text, 40)

        prompts = [task.prompt for task in self._tasks]
        with Drawing(self._recipe, prompts, completions.generations_of(self._recipe)) as drawing:
            self._drawing = drawing
            if self._left:  # before it was there to be cancelled
                drawing.cancel()
            source = completions.sampled(self._recipe, self._tasks, drawing.wait(tell))
        self._doing = "scoring"
        return source

    def action_draw(self) -> None:
        self._doing = "starting"
        many = completions.generations_of(self._recipe)
        base = one_line(self._recipe.model.base, 30)
        self.say(f"draws {many} completions of {len(self._tasks)} prompts by {base}; Esc ends it")
        self.run_worker(self._work(self._fresh))

    def action_behind(self) -> None:
        row = self._row()
        if row is not None and row.behind is not None:
            self.app.push_screen(Behind(row.behind))


class Behind(ModalScreen[None]):
    """The completions behind a number, each with what every reward gave it and why."""

    DEFAULT_CSS = "Behind { background: ansi_default; }"
    BINDINGS = [("escape,q,enter", "leave")]

    def __init__(self, behind: _Behind) -> None:
        super().__init__()
        self._behind = behind

    def compose(self) -> ComposeResult:
        yield Lines(id="title", rows=1)
        yield Page(id="text")

    def on_mount(self) -> None:
        title, _, at = self._behind
        many = f"{len(at)} completions" if len(at) <= _BEHIND else f"the first {_BEHIND} of {len(at)} completions"
        self.query_one("#title", Lines).show([[(f" {one_line(title)}: {many}   Esc goes back", "bold")]])
        self.query_one(Page).focus()
        self.on_resize()

    def on_resize(self) -> None:
        _, scored, at = self._behind
        told = [span for index in at[:_BEHIND] for span in show.completion_lines(scored, index)]
        spans = [(f"{text}\n", style) for text, style in told]
        lines = wrapped_spans(spans, max(self.app.size.width - 2, 1))
        self.query_one(Page).show([[(" ", ""), *line] for line in lines])

    def action_leave(self) -> None:
        self.dismiss(None)


def _rows(trial: Trial, width: int, style: glyphs.Style) -> list[_Row]:
    """All that the trial says: findings, rewards, probes, disagreements."""
    report = trial.report
    names = show.shown_rewards(report, width)
    rows = [
        _Row(
            [(f" {show.finding_line(finding)}", _STYLES[finding.severity])],
            f"{one_line(finding.message)}: {finding.hint}" if finding.hint else one_line(finding.message),
            _behind(trial, finding),
        )
        for finding in trial.findings
    ]
    rows.append(_Row([(glyphs.rule(f"{report.n} completions: {one_line(report.source)}", width, style), "dim")]))
    rows.append(
        _Row([(show.REWARD_HEAD, "dim")], "flat: groups without variance; ~len: correlation with length; s: median")
    )
    every = range(report.n)
    for reward in report.rewards:
        behind = _Behind(reward.name, trial.completions, _ordered(trial.completions.values(reward.name)))
        rows.append(_Row([(show.reward_line(reward), "")], "", behind))
    rows.append(_Row([(show.total_line(report), "bold")], "", _Behind("completions", trial.completions, every)))
    rows.append(
        _Row([(show.probe_head(names), "dim")], "each scored as a completion; exploit: pays like a right answer")
    )
    sets = [("right answers", trial.references)] if report.references.n else []
    if trial.completions is not trial.references:
        sets.append(("completions", trial.completions))
    for line, (title, scored) in zip(show.beside_probes(trial, names), sets, strict=True):
        rows.append(_Row([(line, "bold")], "", _Behind(title, scored, range(len(scored.completions)))))
    for facts, (probe, scored) in zip(report.probes, trial.probes, strict=True):
        text = show.probe_line(facts, names)
        colour = "trouble" if facts.exploits else ""
        hint = facts.hint if facts.exploits or facts.repeats else ""
        rows.append(_Row([(text, colour)], hint, _Behind(probe.name, scored, range(len(scored.completions)))))
    return rows + [
        _Row([(show.disagreement_line(one, report.n), "")], "", _Behind("disagreement", trial.completions, one.at))
        for one in report.disagreements
    ]


def _behind(trial: Trial, finding: Finding) -> _Behind | None:
    """The completions that a finding is about."""
    for probe, scored in trial.probes:
        if finding.kind in ("exploit", "repetition", "probe-fails") and probe.name == finding.about:
            return _Behind(probe.name, scored, range(len(scored.completions)))
    scored = trial.references if finding.kind == "right-answer" else trial.completions
    if finding.kind in ("no-spread", "flat-groups") and not finding.about:
        return _Behind("completions", scored, range(len(scored.completions)))
    if finding.about not in scored.scores:
        return None
    return _Behind(finding.about, scored, _ordered(scored.values(finding.about)))


def _ordered(values: Sequence[float | None]) -> list[int]:
    """Indexes of scores: those that are none first, then the lowest."""
    return sorted(range(len(values)), key=lambda at: (values[at] is not None, values[at] or 0.0))
