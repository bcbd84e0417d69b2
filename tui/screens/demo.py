"""The demo: the story of the main job as it happens, played by a process that outlives the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.widget import Widget

from trainer.home import burnish_home
from trainer.pocket.story import Beat, read_story, start_detached
from trainer.text import one_line
from tui import glyphs
from tui.screens.base import BurnishScreen, bindings_of
from tui.screens.modals import wrapped
from tui.widgets.lines import Line, Lines

_TITLES = {
    "build": "1 Base", "evaluate": "Evaluate", "launch": "Launch", "train": "Train", "result": "Result", "error": "Stopped",
}  # fmt: skip


class DemoScreen(BurnishScreen):
    """Follows the story; Enter opens the monitor of its run."""

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
        return "" if action != "open_run" or self._run() else "the run is not launched yet"

    def tick(self) -> None:
        self._beats = read_story(burnish_home())
        width, style = self.size.width, self.station.glyphs
        lines: list[Line] = [
            *wrapped(
                " No GPU and no download: burnish pretrains a small base, grades it, tunes it with QLoRA in a detached "
                "trainer, and grades it again on problems that neither has seen.",
                width - 2,
            ),
            [],
        ]
        for beat in _told(self._beats):
            mark = (">" if style == "ascii" else "▸") if not beat.done else ("+" if style == "ascii" else "✓")
            tone = "trouble" if beat.kind == "error" else "good" if beat.done else "accent"
            texts = wrapped(beat.text, max(width - 16, 20))
            lines.append([(f" {mark} ", tone), (f"{_TITLES[beat.kind]:<10} ", "bold"), *texts[0]])
            lines += [[(" " * 14, ""), *text] for text in texts[1:]]
            if "total" in beat.data and not beat.done:
                share = beat.data["step"] / max(beat.data["total"] or 1, 1)
                lines.append([(" " * 14, ""), (glyphs.bar(share, max(width - 20, 10), style), "accent")])
            for example in beat.data.get("examples", [])[:1]:
                lines.append([(f"{'':14}{one_line(example['prompt'], width - 16)}", "dim")])
                lines.append([(f"{'':14}answers {one_line(example['completion'], width - 24)}", "")])
        self.query_one("#story", Lines).show(lines)

    def _run(self) -> str:
        return next((str(beat.data["run"]) for beat in reversed(self._beats) if "run" in beat.data), "")

    def action_open_run(self) -> None:
        self.station.open_run(self._run())


def _told(beats: list[Beat]) -> list[Beat]:
    """Of beats that follow each other on one thing only the newest."""
    told: list[Beat] = []
    for beat in beats:
        if told and not told[-1].done and told[-1].kind == beat.kind:
            told[-1] = beat
        else:
            told.append(beat)
    return told
