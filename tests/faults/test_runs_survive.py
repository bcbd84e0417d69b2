"""The harm done to real runs: each is killed, stopped, orphaned or resumed, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import wait_for_end, wait_for_step, wait_until
from trainer.errors import RunError
from trainer.runs import control, warm
from trainer.runs.events import read_events
from trainer.runs.folder import RunFolder, read_json
from trainer.runs.launch import resume
from trainer.runs.model import Event
from trainer.runs.registry import summary

Launch = Callable[..., RunFolder]


def pid_of(run: RunFolder, who: str) -> int:
    return int((read_json(run.proc) or {})[who]["pid"])


def events_of(run: RunFolder, kind: str) -> list[Event]:
    return [event for event in read_events(run.events) if event["type"] == kind]


def test_a_killed_trainer_is_told_and_the_run_resumes(launch_tiny: Launch) -> None:
    run = launch_tiny("training.max_steps=60")
    wait_for_step(run, 25)
    os.kill(pid_of(run, "trainer"), signal.SIGKILL)
    ended = wait_for_end(run)
    assert ended.state == "killed" and ended.verdict
    assert ended.verdict.signal == "SIGKILL" and "outside" in ended.verdict.message
    assert events_of(run, "run.end")[-1]["state"] == "killed"

    resume(run)
    with pytest.raises(RunError) as second:  # of a run that lives
        resume(run)
    assert second.value.exit_code == 2
    ended = wait_for_end(run)
    assert ended.state == "finished" and ended.step == 60
    assert events_of(run, "run.start")[-1]["resumed_from"] == 20
    assert (run.adapter / "adapter_model.safetensors").exists()


def test_a_run_without_its_supervisor_goes_on_and_ends_well(launch_tiny: Launch) -> None:
    run = launch_tiny("training.max_steps=80")
    wait_for_step(run, 5)
    os.kill(pid_of(run, "supervisor"), signal.SIGKILL)
    wait_until(lambda: not summary(run).supervised)
    orphan = summary(run)
    assert orphan.state == "running" and "supervisor is gone" in orphan.note
    ended = wait_for_end(run)
    assert ended.state == "finished" and ended.verdict and ended.verdict.kind == "completed"


def test_a_run_with_nobody_left_is_lost(launch_tiny: Launch) -> None:
    run = launch_tiny("training.max_steps=500")
    wait_for_step(run, 2)
    os.kill(pid_of(run, "supervisor"), signal.SIGKILL)
    os.kill(pid_of(run, "trainer"), signal.SIGKILL)
    ended = wait_for_end(run)
    assert ended.state == "lost" and ended.verdict and ended.verdict.kind == "lost"


def test_what_is_asked_of_a_run_is_done_and_told(launch_tiny: Launch) -> None:
    run = launch_tiny("training.max_steps=2000", "training.save_steps=1000", "evaluation.eval_steps=1000")
    wait_for_step(run, 3)
    control.request(run, "save", "me@box")
    wait_until(lambda: bool(events_of(run, "checkpoint")))
    assert events_of(run, "checkpoint")[0]["reason"] == "request"
    control.request(run, "evaluate", "me@box")
    wait_until(lambda: bool(events_of(run, "sample")))
    assert "eval_loss" in events_of(run, "eval")[0]
    control.request(run, "pause", "me@box")
    wait_until(lambda: summary(run).phase == "paused")
    at = summary(run).step
    time.sleep(1)
    assert summary(run).step == at
    control.request(run, "continue", "me@box")
    wait_until(lambda: summary(run).step > at)
    control.request(run, "stop", "me@box")
    ended = wait_for_end(run)
    assert ended.state == "finished" and ended.verdict and ended.verdict.kind == "stopped"
    assert "me@box" in ended.verdict.message
    stopped_at = run.latest_checkpoint()
    assert stopped_at is not None and stopped_at.name == f"checkpoint-{ended.step}"
    assert [event["request"] for event in events_of(run, "control.ack")] == [
        "save",
        "evaluate",
        "pause",
        "continue",
        "stop",
    ]
    assert not list(run.control.iterdir())
    with pytest.raises(RunError):
        control.request(run, "stop")


def test_kill_now_says_who(launch_tiny: Launch) -> None:
    run = launch_tiny("training.max_steps=2000")
    wait_for_step(run, 2)
    control.kill_now(run, "me@box")
    ended = wait_for_end(run)
    assert ended.state == "killed" and ended.verdict
    assert ended.verdict.kind == "stopped-now" and "me@box" in ended.verdict.message
    with pytest.raises(RunError):
        control.kill_now(run, "me@box")


def test_a_launcher_killed_at_once_leaves_the_run_alone_and_a_warm_trainer_takes_it(
    home: Path, tiny_model: Path
) -> None:
    warm.ensure(home)
    wait_until(lambda: warm.status(home).state == "ready")
    waiting = warm.status(home).trainer_pid
    code = f"""
import sys, time
from pathlib import Path
from recipes.loading import load
from trainer.planning.start import start
model = {str(tiny_model)!r}
run = start(load("sft-qlora", [f"model.base={{model}}", f"data.train={{model}}/train.jsonl", "training.max_steps=30",
    "training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=1", "evaluation.eval_on_start=false",
    "resources.min_free_disk_gib=0.01"]), home=Path({str(home)!r}), command=["test"])
print(run.path, flush=True)
time.sleep(100)
"""
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout
    run = RunFolder(Path(launcher.stdout.readline().strip()))
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    ended = wait_for_end(run)
    assert ended.state == "finished" and ended.step == 30
    assert pid_of(run, "trainer") == waiting
    assert warm.status(home).state == "none"


def test_an_unused_warm_trainer_goes_away(home: Path) -> None:
    warm.ensure(home, idle_s=0.5)
    wait_until(lambda: warm.status(home).state == "none", 30)
    warm.ensure(home)
    assert warm.status(home).state != "none"
    warm.dismiss(home)
    wait_until(lambda: warm.status(home).state == "none", 30)
