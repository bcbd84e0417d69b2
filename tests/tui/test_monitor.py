"""The monitor by method: its sentence, charts, figures and verdicts over written runs that are still live."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.test_workstation import shown, until
from trainer.devices.model import Gpu, GpuProcess, Host, Memory, Snapshot
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.supervisor import take_lock
from tui.app import Workstation
from tui.charts import pictures
from tui.screens.monitor import MonitorScreen
from tui.verdicts import checks_of, utilization_of

Numbers = Callable[[int], dict[str, float]]
STEPS = 60


@contextmanager
def live(home: Path, method: str, numbers: Numbers, held_out: Numbers, **recipe: Any) -> Iterator[RunFolder]:
    """A run in training, its numbers by step; an evaluation every twenty."""
    recipe = {"name": f"{method}-told", "model": {"base": "pocket"}, **recipe}
    run = RunFolder.create(home, name="told", method=method, recipe=recipe, origins={}, command=["x"])
    writer = EventWriter(run)
    for step in range(1, STEPS + 1):
        writer.write("step", step=step, total=200, step_time_s=2.0, grad_norm=0.4, learning_rate=1e-5, **numbers(step))
        if step % 20 == 0:
            writer.write("eval", step=step, **held_out(step))
    run.write_status(RunStatus("running", phase="training", step=STEPS, total_steps=200, loss=0.4))
    lock = take_lock(run.lock)
    assert lock is not None
    yield run
    os.close(lock)


def wave(step: int, size: float = 0.05) -> float:
    """Noise that is the same in every test."""
    return size * math.sin(step * 2.4)


def dpo(step: int) -> dict[str, float]:
    margin = 0.02 * step + wave(step)
    return {
        "loss": 0.69 - 0.004 * step, "rewards/chosen": -0.01 * step, "rewards/rejected": -0.01 * step - margin,
        "rewards/margins": margin, "rewards/accuracies": 0.6 + wave(step), "logps/chosen": -80.0 - 0.1 * step,
        "logps/rejected": -90.0 - 0.5 * step,
    }  # fmt: skip


def dpo_held_out(step: int) -> dict[str, float]:
    return {"eval_loss": 0.69 - 0.003 * step, "eval_rewards/accuracies": 0.68, "eval_rewards/margins": 0.015 * step}


def grpo(step: int) -> dict[str, float]:
    reward = 0.2 + 0.005 * step + wave(step, 0.02)
    return {
        "loss": 0.001, "reward": reward, "reward_std": 0.2, "frac_reward_zero_std": 0.92, "entropy": 0.3,
        "rewards/correct/mean": reward, "rewards/brief/mean": 0.9, "completions/mean_length": 80.0,
        "completions/max_length": 200.0, "completions/clipped_ratio": 0.1, "clip_ratio/region_mean": 0.01,
        "generate_s": 1.2, "score_s": 0.1, "learn_s": 0.7,
    }  # fmt: skip


REWARDS = {"correct": {"kind": "match", "weight": 1.0}, "brief": {"kind": "length", "weight": 0}}


async def opened(app: Workstation, pilot: Pilot[int]) -> MonitorScreen:
    await until(pilot, lambda: "told" in shown(app))
    await pilot.press("enter")
    await until(pilot, lambda: f"step {STEPS}/200" in shown(app))
    assert isinstance(app.screen, MonitorScreen)
    return app.screen


async def test_a_dpo_run_answers_the_classic_worry_and_shows_both_sides_in_one_chart(home: Path) -> None:
    with live(home, "dpo", dpo, dpo_held_out):
        app = Workstation("fake:none")
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await opened(app, pilot)
            text = shown(app)
            assert " learning: margin 1.1 rises, held-out accuracy 68 %; chosen log-probs fall" in text
            assert " acc. 0." in text  # the progress line has it in the place of the loss
            assert " rewards/margins " in text and "held out" in text
            for label in ("margin", "accuracy", "held out", "chosen", "rejected", "grad norm"):
                assert f" {label} " in text, label
            await pilot.press("m", "m", "m")
            await until(pilot, lambda: "\n log-probs " in shown(app))
            head = next(line for line in shown(app).splitlines() if line.startswith(" log-probs "))
            assert "chosen" in head and "rejected" in head
            await screen.run_action("screen.verdicts")
            await until(pilot, lambda: " good   chosen log-probs fall, which is common: -80" in shown(app))
            assert " good   held-out accuracy 68 % (>= 50 %, chance)" in shown(app)


async def test_a_grpo_run_that_learns_nothing_says_so_with_number_range_source_and_remedy(home: Path) -> None:
    with live(home, "grpo", grpo, lambda step: {"eval_reward": 0.3}, rewards=REWARDS):
        app = Workstation("fake:none")
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await opened(app, pilot)
            text = shown(app)
            assert " nothing to learn from: 92 % of groups have no variance (< 80 %, Axolotl's guid" in text
            assert "gen 60% score 5% learn 35%" in text
            head = next(line for line in text.splitlines() if line.startswith(" reward "))
            assert all(name in head for name in ("sum", "held out", "brief (check)", "cor")), head
            await screen.run_action("screen.verdicts")
            await until(pilot, lambda: " good   entropy 0.3 (0.05 to 0.5, Axolotl's guide)" in shown(app))
            lines = shown(app).splitlines()
            at = next(i for i, line in enumerate(lines) if line.startswith(" bad "))
            assert "nothing to learn from: 92 % of groups have no variance" in lines[at]
            assert "< 80 %, Axolotl's guide. harder or easier prompts" in lines[at + 1]
            assert all(line.startswith((" good ", " watch", "   ")) for line in lines[at + 1 : -3] if line.strip())
            assert all(len(line) <= 80 for line in lines)
            await screen.run_action("screen.verdicts")
            await until(pilot, lambda: "Verdicts of the moment" not in shown(app))
            for title in ("reward_std", "frac_reward_zero_std", "entropy", "tokens", "completions/clipped_ratio"):
                await pilot.press("m")
                await until(pilot, lambda title=title: f"\n {title}  " in shown(app))  # type: ignore[misc]


def test_only_charts_with_readings_are_gone_through() -> None:
    titles = [picture.title for picture in pictures("kto", {"rewards/margins", "loss", "eval_entropy"})]
    assert titles == ["rewards/margins", "entropy", "loss", "memory, GiB"]
    assert [picture.title for picture in pictures("grpo", ())] == ["reward", "memory, GiB"]


def test_a_reward_of_weight_nought_is_a_check() -> None:
    assert checks_of({"rewards": REWARDS}) == ["brief"]
    assert checks_of({"method": "sft"}) == []


@pytest.mark.parametrize(("pid", "busy"), [(7, 90), (8, None), (None, None)])
def test_the_gpu_of_a_run_tells_how_busy_it_is(pid: int | None, busy: int | None) -> None:
    memory = Memory(1, 1, 2)
    gpus = (
        Gpu(0, "a", "H100", utilization=3, processes=(GpuProcess(7),)),
        Gpu(1, "b", "H100", utilization=90, processes=(GpuProcess(7), GpuProcess(9))),
        Gpu(2, "c", "H100", utilization=99, processes=(GpuProcess(9),)),
    )
    assert utilization_of(Snapshot(time.time(), gpus, Host("h", 0, 1, memory, memory, "/")), pid) == busy
    assert utilization_of(None, pid) is None
