"""The warm trainer: of two launches one gets it, and it is gone when its supervisor is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.runs import SHORT, pid_of, wait_for_event
from tests.waiting import wait_for_end, wait_until
from trainer.runs import control, warm
from trainer.runs.folder import RunFolder
from trainer.runs.identity import identify, is_alive
from trainer.runs.registry import summary

Launch = Callable[..., RunFolder]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_of_two_launches_at_once_one_gets_the_warm_trainer(home: Path, launch_tiny: Launch) -> None:
    assert warm.status(home).state == "none"
    assert warm.ensure(home)
    assert warm.status(home).state == "importing"
    assert warm.ensure(home)  # one is enough
    wait_until(lambda: warm.status(home).state == "ready")
    waiting = warm.status(home).trainer_pid
    with ThreadPoolExecutor(2) as pool:
        launched = list(pool.map(lambda name: launch_tiny(*SHORT, "training.max_steps=2000", name=name), "ab"))
    wait_until(lambda: all(summary(run).trainer_pid for run in launched))
    lucky = [run for run in launched if pid_of(run, "trainer") == waiting]
    assert len(lucky) == 1
    assert warm.status(home).state == "none"

    (other,) = (run for run in launched if run not in lucky)
    control.kill_now(other, "me@box")  # it still imports
    killed = wait_for_end(other)
    assert (killed.state, killed.verdict and killed.verdict.kind) == ("killed", "stopped-now")

    wait_for_event(lucky[0], "step")
    assert summary(lucky[0]).supervised
    os.kill(pid_of(lucky[0], "supervisor"), signal.SIGTERM)  # as a service manager stops it: the trainer saves
    stopped = wait_for_end(lucky[0])
    assert (stopped.state, stopped.verdict and stopped.verdict.kind) == ("finished", "stopped")
    checkpoint = lucky[0].latest_checkpoint()
    assert checkpoint is not None and checkpoint.name == f"checkpoint-{stopped.step}"


def test_a_warm_trainer_serves_its_own_shell_only_and_leaves_with_its_supervisor(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm.ensure(home)
    wait_until(lambda: warm.status(home).state == "ready")
    pid = warm.status(home).trainer_pid
    assert pid
    with monkeypatch.context() as other_shell:
        other_shell.setenv("CUDA_VISIBLE_DEVICES", "7")
        assert not warm.claim(RunFolder(home), home)
    assert warm.status(home) == warm.Warm("ready", pid)

    trainer = identify(pid)
    os.kill(parent_of(pid), signal.SIGKILL)
    wait_until(lambda: not is_alive(trainer), 30)
    assert warm.status(home).state == "none"
    assert not warm.claim(RunFolder(home), home)
