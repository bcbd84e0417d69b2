"""The workstation through its keys, in Textual's own test driver, over recorded and real runs."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from trainer.runs.events import EventWriter, read_events
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.registry import summaries, summary
from tui.app import Workstation
from tui.screens.base import BurnishScreen
from tui.screens.home import HomeScreen
from tui.screens.modals import Confirm, Help, Notice, Palette
from tui.screens.monitor import MonitorScreen
from tui.screens.recipes import RecipeScreen
from tui.screens.runs import RunsScreen

Launch = Callable[..., RunFolder]
SIZES = [(80, 24), (120, 40)]


def shown(app: Workstation) -> str:
    """The whole screen as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Pilot[int], true: Callable[[], bool], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, shown(pilot.app)  # type: ignore[arg-type]
        await pilot.pause(0.1)


def record(home: Path, name: str = "told", steps: int = 60, **status: object) -> RunFolder:
    """A finished run as the trainer leaves it."""
    run = RunFolder.create(
        home,
        name=name,
        method="sft",
        recipe={"name": "sft-qlora", "model": {"base": "pocket"}},
        origins={},
        command=["x"],
    )
    writer = EventWriter(run)
    for step in range(1, steps + 1):
        writer.write(
            "step", step=step, total=steps, loss=4.0 / step, grad_norm=0.5, learning_rate=1e-3, tokens_per_s=900.0
        )
    writer.write("eval", step=steps, eval_loss=0.2)
    hostile = "\x1b[2J[red]six[/red] \x1b]52;c;AAAA\x07"
    writer.write("sample", step=steps, index=0, prompt="three and three?", completion=hostile, reference="6")
    writer.write(
        "memory", host_rss_gib=0.6, device_used_gib=None, device_total_gib=None, peak_gib=None, phase="training"
    )
    run.console.write_text("first line\nlast \x1b[31mline\n")
    verdict = {"kind": "completed", "message": "finished all steps", "hint": ""}
    run.write_status(
        RunStatus("finished", step=steps, total_steps=steps, loss=4.0 / steps, verdict=verdict, ended_at=time.time())
    )
    return run


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("devices", ["fake:h200x8", "fake:none"])
async def test_home_shows_the_box_and_the_runs(home: Path, size: tuple[int, int], devices: str) -> None:
    record(home)
    app = Workstation(devices)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "told" in shown(app) and "RAM" in shown(app))
        text = shown(app)
        assert "finished" in text and "─ Next ─" in text and "RAM" in text
        assert ("No GPU" in text) == (devices == "fake:none")
        if devices == "fake:h200x8":
            assert text.count("H200") >= 8 and "GiB" in text
        assert all(len(line) <= size[0] for line in text.splitlines())


async def test_only_the_screen_that_is_shown_is_drawn_and_by_one_clock(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: list[BurnishScreen] = []
    ticks: list[str] = []
    set_interval = BurnishScreen.set_interval

    def counted(screen: BurnishScreen, seconds: float, callback: Callable[[], None], **more: object) -> object:
        if callback == screen._tick:
            clocks.append(screen)
        return set_interval(screen, seconds, callback, **more)

    monkeypatch.setattr(BurnishScreen, "set_interval", counted)
    for kind in (HomeScreen, RunsScreen, MonitorScreen):
        monkeypatch.setattr(kind, "tick", lambda screen: ticks.append(screen.NAME))
    record(home)
    app = Workstation("fake:none")
    async with app.run_test() as pilot:
        await until(pilot, lambda: bool(app.runs))
        await pilot.press("4", "enter")
        await until(pilot, lambda: "monitor" in ticks)
        ticks.clear()
        await until(pilot, lambda: ticks.count("monitor") >= 3)
        assert set(ticks) == {"monitor"}
        assert len(clocks) == len(set(clocks)) == 3


@pytest.mark.parametrize("size", SIZES)
async def test_the_monitor_of_a_finished_run(home: Path, size: tuple[int, int]) -> None:
    run = record(home)
    app = Workstation("fake:none")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "told" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "step 60/60" in shown(app) and "Samples" in shown(app))
        text = shown(app)
        assert "finished all steps" in text and "held out" in text and "tok/s" in text
        assert "[red]six[/red]" in text and "\x1b" not in text
        await pilot.press("l")
        await until(pilot, lambda: "last �[31mline" in shown(app))
        await pilot.press("m", "m")
        await until(pilot, lambda: "grad_norm" in shown(app))
        await pilot.press("x")  # nothing to stop: the key says why
        assert "stop: the run is finished" in shown(app)
        await pilot.press("escape")
        assert app.screen.NAME == "home"  # type: ignore[attr-defined]
    assert summary(run).state == "finished"


async def test_help_palette_and_modes_by_keys_alone(home: Path) -> None:
    app = Workstation("fake:none", ascii_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "no runs yet" in shown(app))
        await pilot.press("enter")
        assert "open: there are no runs yet" in shown(app)
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help) and "burnish runs" in shown(app)
        await pilot.press("escape", "colon")
        assert isinstance(app.screen, Palette)
        await pilot.press(*"recip", "enter")
        await until(pilot, lambda: "sft-qlora" in shown(app))
        await pilot.press("4")
        await until(pilot, lambda: "no runs yet: 3 picks a recipe" in shown(app))
        assert shown(app).isascii()
        await pilot.press("escape", "escape")
        await pilot.pause()
    assert app.return_code == 0


async def test_a_recipe_is_read_changed_undone_and_bad_values_refused(home: Path) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "sft-qlora" in shown(app))
        await pilot.press("enter")  # sft-qlora stands first
        await until(pilot, lambda: isinstance(app.screen, RecipeScreen) and "model.base" in shown(app))
        screen = app.screen
        assert isinstance(screen, RecipeScreen)
        await pilot.press("j", "space")  # model.base is free text
        await until(pilot, lambda: bool(app.screen.query(Input)))
        app.screen.query_one(Input).value = "my/base"
        await pilot.press("enter")
        await until(pilot, lambda: screen._loaded.recipe.model.base == "my/base")
        assert screen._loaded.origin("model.base") == "edited"
        await pilot.press("j", "j", "space")  # model.tuning is one of three
        assert screen._loaded.recipe.model.tuning == "lora"
        await pilot.press("z", "z")
        assert screen._loaded.recipe.model.base == "pocket" and screen._loaded.recipe.model.tuning == "qlora"
        await pilot.press("z")
        assert "undo: nothing was changed" in shown(app)
        screen._take("model.lora.r=many")
        await pilot.pause()
        assert isinstance(app.screen, Notice) and "cannot be" in shown(app)


async def test_a_launch_that_cannot_work_is_refused_and_writes_nothing(home: Path) -> None:
    app = Workstation("fake:none", opened=str(Path(__file__).parents[2] / "recipes" / "library" / "sft-qlora.yaml"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RecipeScreen))
        assert isinstance(app.screen, RecipeScreen)
        app.screen._take("data.train=/nowhere/rows.jsonl")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Notice))
        assert "/nowhere/rows.jsonl does not exist" in shown(app)
    assert not summaries(home)


async def test_launch_watch_stop_and_resume_by_keys(home: Path, tiny_model: Path) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "sft-qlora" in shown(app))
        await pilot.press("enter")  # sft-qlora stands first
        await until(pilot, lambda: isinstance(app.screen, RecipeScreen))
        screen = app.screen
        assert isinstance(screen, RecipeScreen)
        for text in (
            f"model.base={tiny_model}", f"data.train={tiny_model}/train.jsonl", "training.max_steps=400",
            "training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=1",
            "evaluation.eval_on_start=false", "evaluation.samples=1", "resources.min_free_disk_gib=0.01",
        ):  # fmt: skip
            screen._take(text)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen), 60)
        run = RunFolder(Path(summaries(home)[0].path))
        await until(pilot, lambda: summary(run).step > 3, 90)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")  # cancel is the default
        await pilot.pause()
        assert summary(run).live
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: not summary(run).live, 90)
        found = summary(run).verdict
        assert found is not None and found.kind == "stopped"
        await until(pilot, lambda: "stopped by" in shown(app))
        await pilot.press("r")
        await until(pilot, lambda: summary(run).live, 30)
        await until(
            pilot, lambda: any(e.get("resumed_from") for e in read_events(run.events) if e["type"] == "run.start"), 90
        )
        await asyncio.to_thread(__import__("trainer.runs.control", fromlist=["kill_now"]).kill_now, run)
    command = json.loads(run.run_json.read_text())["command"]
    assert command[:3] == ["burnish", "run", "sft-qlora"]
    assert "--set=training.max_steps=400" in command


async def test_the_collector_of_garbage_is_back_once_the_app_is_up(home: Path) -> None:
    gc.disable()  # as the command leaves it
    try:
        async with Workstation("fake:none").run_test() as pilot:
            await until(pilot, gc.isenabled)
    finally:
        gc.enable()
