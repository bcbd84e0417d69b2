"""One run through everything: its launcher's terminal dies, it is stopped, resumed at once, orphaned, and it ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.runs import SHORT, events_of, pid_of, wait_for_event
from tests.waiting import wait_for_end, wait_until
from trainer.errors import RunError
from trainer.runs import control
from trainer.runs.folder import RunFolder
from trainer.runs.launch import resume
from trainer.runs.registry import is_locked, summary

LAUNCH = """
import sys, time
from pathlib import Path
from recipes.loading import load
from trainer.planning.start import start
print(start(load("sft-qlora", sys.argv[2:]), home=Path(sys.argv[1]), command=["test"]).path, flush=True)
time.sleep(600)
"""
STEPS = 25


def launch_and_close_the_terminal(home: Path, model: Path) -> RunFolder:
    """Launched from a process whose whole session is killed as soon as the run is up."""
    rows = (f"model.base={model}", f"data.train={model}/train.jsonl", f"data.eval={model}/validation.jsonl")
    command = [sys.executable, "-c", LAUNCH, str(home), *rows, *SHORT, f"training.max_steps={STEPS}"]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert launcher.stdout
    run = RunFolder(Path(launcher.stdout.readline().strip()))
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.communicate()
    return run


def test_a_run_outlives_its_launcher_a_stop_and_its_supervisor(home: Path, tiny_model: Path) -> None:
    run = launch_and_close_the_terminal(home, tiny_model)
    control.request(run, "pause", "me@box")  # while it still imports
    wait_for_event(run, "phase", phase="paused")
    assert summary(run).state == "running" and summary(run).supervised
    with pytest.raises(RunError, match="still running") as second:
        resume(run)
    assert second.value.exit_code == 2

    control.request(run, "stop", "me@box")
    stopped = wait_for_end(run)
    assert (stopped.state, stopped.step) == ("finished", 1)
    assert stopped.verdict and stopped.verdict.kind == "stopped" and "me@box" in stopped.verdict.message
    assert events_of(run, "checkpoint")[-1] | {"step": 1, "reason": "stop"} == events_of(run, "checkpoint")[-1]

    resume(run)  # at once: its first trainer may still be on its way out
    control.request(run, "pause", "me@box")
    wait_until(lambda: len([event for event in events_of(run, "phase") if event["phase"] == "paused"]) == 2)
    trainer = pid_of(run, "trainer")
    os.kill(pid_of(run, "supervisor"), signal.SIGKILL)
    wait_until(lambda: not is_locked(run))
    orphan = summary(run)
    assert (orphan.state, orphan.supervised, orphan.trainer_pid) == ("running", False, trainer)
    with pytest.raises(RunError, match="still running"):
        resume(run)
    steps = len(events_of(run, "step"))
    time.sleep(1)
    assert len(events_of(run, "step")) == steps  # paused is paused

    control.request(run, "continue", "me@box")
    ended = wait_for_end(run)
    assert (ended.state, ended.step, ended.verdict and ended.verdict.kind) == ("finished", STEPS, "completed")
    assert [event["resumed_from"] for event in events_of(run, "run.start")] == [None, 1]
    assert [event["step"] for event in events_of(run, "step")] == list(range(1, STEPS + 1))
    assert [event["seq"] for event in events_of(run)] == list(range(1, len(events_of(run)) + 1))
    assert (run.adapter / "adapter_model.safetensors").exists()
