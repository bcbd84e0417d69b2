"""The demo: the story of the whole job as it happens, played by a process that outlives the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.widget import Widget

from trainer.home import burnish_home
from trainer.pocket.stages import MEASURES, STAGES
from trainer.pocket.story import Beat, helped, read_story, start_detached
from trainer.text import one_line
from tui import glyphs
from tui.screens.base import BurnishScreen, bindings_of
from tui.screens.modals import wrapped
from tui.widgets.lines import Line, Lines

_INTRODUCTION = (
    "No GPU, no download: a small base is pretrained, then tuned by three runs, each on from the last, and judged on "
    "problems that no stage trains on."
)
_NAMES = {"base": "pretrain", **{stage.name: stage.name.upper() for stage in STAGES}}
_HEADS = {"valid": "JSON", "named": "unit", "ranked": "pairs", "correct": "exact", "worked": "shows work"}
_INDENT = 13


class DemoScreen(BurnishScreen):
    """Follows the story; Enter opens the monitor of its newest run."""

    NAME = "demo"
    BINDINGS = bindings_of("demo")

    def __init__(self) -> None:
        super().__init__()
        self._beats: list[Beat] = []

    def body(self) -> Sequence[Widget]:
        story = Lines(id="story")
        story.styles.height = "1fr"
        return (story,)

    def on_mount(self) -> None:
        self.run_worker(asyncio.to_thread(start_detached, burnish_home()), exit_on_error=False)

    def heading(self) -> tuple[str, str]:
        return "The whole job on a small model", "you may leave: it goes on"

    def reason(self, action: str) -> str:
        return "" if action != "open_run" or self._run() else "no run is launched yet"

    def tick(self) -> None:
        self._beats = read_story(burnish_home())
        width, style = self.size.width, self.station.glyphs
        lines = [
            *([(" ", ""), *line] for line in wrapped(_INTRODUCTION, width - 2)),
            *chain(self._beats, width, style),
            [],
            *table(self._beats),
            *answers(self._beats, width),
            *ending(self._beats, width),
        ]
        self.query_one("#story", Lines).show(lines)

    def _run(self) -> str:
        return next((str(beat.data["run"]) for beat in reversed(self._beats) if "run" in beat.data), "")

    def action_open_run(self) -> None:
        self.station.open_run(self._run())


def chain(beats: list[Beat], width: int, style: glyphs.Style) -> list[Line]:
    """A line a stage: what it did to its own measure, or what it does now, with a bar below."""
    head = f"{'':<{_INDENT}}{'is for':<15}{'before':>7}    {'after':<9}points (95 % interval)"
    lines: list[Line] = [[(head, "dim")]]
    for stage, name in _NAMES.items():
        told = [beat for beat in beats if beat.stage == stage]
        if not told:
            lines.append([(f"   {name:<{_INDENT - 3}}", "dim"), ("to come", "dim")])
            continue
        now = told[-1]
        if stage == "base" and now.kind == "evaluate" and now.done:  # its grades stand in the table
            now = next((beat for beat in reversed(told) if beat.kind == "build"), now)
        over = now.kind == "result" or (stage == "base" and now.done)
        mark, tone = _mark(now, over, style)
        text = _changed(now) if now.kind == "result" else now.text
        lines.append(
            [(f" {mark} ", tone), (f"{name:<{_INDENT - 3}}", "bold"), (one_line(text, width - _INDENT - 1), "")]
        )
        if "total" in now.data and not now.done:
            share = now.data["step"] / max(now.data["total"] or 1, 1)
            lines.append([(" " * _INDENT, ""), (glyphs.bar(share, max(width - _INDENT - 4, 10), style), "accent")])
    return lines


def table(beats: list[Beat]) -> list[Line]:
    """The share of held-out problems on every measure, after each stage."""
    judged = [beat for beat in beats if beat.kind == "evaluate" and beat.done]
    if not judged:
        return []
    head = "".join(f"{_HEADS[measure]:>11}" for measure in MEASURES)
    lines: list[Line] = [[(f" {'held out':<{_INDENT - 1}}{head}", "dim")]]
    for beat in judged:
        shares = "".join(f"{beat.data['scores'][measure]['estimate']:>11.1%}" for measure in MEASURES)
        who = "base" if beat.stage == "base" else f"after {_NAMES[beat.stage]}"
        lines.append([(f" {who:<{_INDENT - 1}}", "bold"), (shares, "")])
    return lines


def answers(beats: list[Beat], width: int) -> list[Line]:
    """One problem and what each stage made of it."""
    judged = [beat for beat in beats if beat.data.get("examples")]
    if not judged:
        return []
    lines: list[Line] = [[], [(f" {one_line(judged[0].data['examples'][0]['prompt'], width - 2)}", "dim")]]
    for beat in judged:
        said = one_line(beat.data["examples"][0]["completion"], width - _INDENT - 1)
        lines.append([(f" {beat.stage:<{_INDENT - 1}}", "bold"), (said, "")])
    return lines


def ending(beats: list[Beat], width: int) -> list[Line]:
    """What stopped the story, or whether the stages did what they are for."""
    if not beats:
        return []
    last = beats[-1]
    if last.kind == "error":
        return [[(str(text[0][0]), "trouble")] for text in wrapped(f" stopped: {last.text}", width - 2)]
    if last.kind != "result" or last.stage != STAGES[-1].name:
        return []
    if helped(beats):
        return [[(" Every stage helped on what it is for.", "good")]]
    failed = [_NAMES[beat.stage] for beat in beats if beat.kind == "result" and not beat.data["difference"]["low"] > 0]
    return [[(f" Not shown to have helped: {', '.join(failed)}.", "warn")]]


def _mark(now: Beat, over: bool, style: glyphs.Style) -> tuple[str, str]:
    if now.kind == "result" and not now.data["difference"]["low"] > 0:
        return "!", "warn"
    done, goes_on = ("+", ">") if style == "ascii" else ("✓", "▸")
    return (done, "good") if over else (goes_on, "accent")


def _changed(result: Beat) -> str:
    """A stage's own measure before and after, and the difference with its interval."""
    found = result.data
    before, after = (f"{found[side]['estimate']:.1%}" for side in ("before", "after"))
    estimate, low, high = (found["difference"][key] * 100 for key in ("estimate", "low", "high"))
    moved = f"{before:>6} to {after:<6} {estimate:+6.1f} ({low:+.1f} to {high:+.1f})"
    return f"{MEASURES[found['measure']]:<16}{moved:<39}{found['seconds']:>5.0f} s"
