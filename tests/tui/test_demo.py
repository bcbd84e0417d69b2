"""The demo's screen: the whole chain at once on the smallest terminal, and honest about a stage that did not help."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.tui.test_workstation import shown, until
from trainer.pocket.stages import MEASURES, STAGES
from trainer.pocket.story import Beat
from tui.app import Workstation
from tui.screens.demo import DemoScreen

HOSTILE = "\x1b]52;c;AAAA\x07[red]seven"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose story is what a test says it is: no process plays it."""
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path))
    monkeypatch.setattr("tui.screens.demo.start_detached", lambda home: None)
    (tmp_path / "demo").mkdir()
    yield tmp_path


def tell(home: Path, beats: list[Beat]) -> None:
    (home / "demo" / "story.jsonl").write_text("".join(json.dumps(asdict(beat)) + "\n" for beat in beats))


def judged(stage: str) -> Beat:
    scores = {name: {"estimate": 0.25, "low": 0.2, "high": 0.3} for name in MEASURES}
    example = {"prompt": f"How many? {HOSTILE}", "completion": f'{{"answer": 7}} {stage}', "reference": ""}
    return Beat("evaluate", stage, "judged", True, {"examples": [example], "scores": scores, "n": 300})


def ended(stage: str, measure: str, low: float = 0.3) -> Beat:
    share = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    difference = {"estimate": low + 0.1, "low": low, "high": low + 0.2}
    data = {"measure": measure, "before": share, "after": share, "difference": difference, "p": 0.01, "n": 300}
    return Beat("result", stage, "", True, {**data, "seconds": 61.0})


def whole(last_low: float = 0.3) -> list[Beat]:
    lows = {"sft": 0.3, "dpo": 0.3, "rft": last_low}
    beats = [Beat("build", "base", "the base is ready after 100 s", True), judged("base")]
    for stage in STAGES:
        beats += [
            Beat("launch", stage.name, "launched", True, {"run": f"a-run-{stage.name}"}),
            Beat("train", stage.name, "step 40 of 40, reward 0.9", data={"step": 40, "total": 40}),
            judged(stage.name),
            ended(stage.name, stage.measure, lows[stage.name]),
        ]
    return beats


def screen_of(size: tuple[int, int]) -> str:
    async def follow() -> str:
        app = Workstation("fake:none", mode="demo")
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, DemoScreen) and "pretrain" in shown(app))
            return shown(app)

    return asyncio.run(follow())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_whole_chain_is_on_one_screen(told: Path, size: tuple[int, int]) -> None:
    tell(told, whole())
    text = screen_of(size)
    assert "the base is ready after 100 s" in text
    for stage in STAGES:
        line = next(line for line in text.splitlines() if f"{stage.name.upper()} " in line and "+40.0" in line)
        assert MEASURES[stage.measure] in line
        assert "50.0% to 50.0%" in line and "(+30.0 to +50.0)" in line and "61 s" in line
        assert f"after {stage.name.upper()}" in text
        assert f'{{"answer": 7}} {stage.name}' in text
    assert "Every stage helped on what it is for." in text
    assert "\x1b" not in text and "\x07" not in text and "[red]seven" in text


def test_a_stage_that_did_not_help_is_named(told: Path) -> None:
    tell(told, whole(last_low=-0.05))
    text = screen_of((80, 24))
    assert "Not shown to have helped: RFT." in text
    assert "Every stage" not in text


def test_a_stage_in_progress_has_a_bar_and_the_next_ones_are_to_come(told: Path) -> None:
    beats = [beat for beat in whole() if beat.stage in ("base", "sft")]
    step = Beat("train", "dpo", "step 10 of 40, loss 0.512", data={"step": 10, "total": 40, "run": "a-run"})
    tell(told, [*beats, step])
    text = screen_of((80, 24))
    at = next(at for at, line in enumerate(text.splitlines()) if "step 10 of 40, loss 0.512" in line)
    bar = text.splitlines()[at + 1]
    assert bar.count("█") * 3 == pytest.approx(bar.count("░"), abs=3)
    assert "to come" in next(line for line in text.splitlines() if " RFT " in line)


def test_what_stopped_the_story_is_said(told: Path) -> None:
    tell(told, [Beat("build", "base", "begun"), Beat("error", "", "the disk is full. Make room", True)])
    assert "stopped: the disk is full. Make room" in screen_of((80, 24))
