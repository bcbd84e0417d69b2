"""The sentence on top of a run: that it learns, learns by heart, waits, hangs, or how it ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.health import in_words
from trainer.runs.model import RunView
from trainer.runs.reader import RunReader
from trainer.runs.supervisor import take_lock


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """A run that trains, as its lock and its status say."""
    run = RunFolder.create(tmp_path, name="a", method="sft", recipe={}, origins={}, command=["test"])
    run.write_status(RunStatus("running", phase="training", step=1))
    lock = take_lock(run.lock)
    assert lock is not None
    yield run
    os.close(lock)


def train(run: RunFolder, losses: list[float], eval_losses: list[float] | None = None) -> None:
    writer = EventWriter(run)
    for step, loss in enumerate(losses, 1):
        writer.write("step", step=step, total=len(losses), loss=loss, step_time_s=0.5)
    for number, loss in enumerate(eval_losses or [], 1):
        writer.write("eval", step=number * 5, eval_loss=loss)
    writer.close()


def seen(run: RunFolder) -> RunView:
    return RunReader(run).open()


FALLING = [4 / step**0.5 for step in range(1, 31)]


@pytest.mark.parametrize(
    ("losses", "held_out", "sentence"),
    [
        ([2.5], [], "started: loss 2.5"),
        (FALLING, [], "learning: loss falls"),
        ([2.0] * 30, [], "loss is level"),
        (FALLING[::-1], [], "trouble: loss rises; a lower training.learning_rate is the first thing to try"),
        (FALLING, [3.0, 2.0, 1.0], "learning: loss falls, held-out follows"),
        (FALLING, [3.0, 1.0, 1.3], "learning: loss falls, held-out loss is 30% above its best: it starts to learn by heart"),
    ],
)  # fmt: skip
def test_the_trend_is_said(run: RunFolder, losses: list[float], held_out: list[float], sentence: str) -> None:
    train(run, losses, held_out)
    assert in_words(seen(run)) == sentence


def test_the_newest_alert_is_said_on_one_safe_line(run: RunFolder) -> None:
    train(run, FALLING)
    writer = EventWriter(run)
    for message in ("an older one", "the loss is \x1b[31mno\nnumber"):
        writer.write("alert", kind="nonfinite", message=message)
    assert in_words(seen(run)) == "learning: loss falls, the loss is �[31mno⏎number"


def test_waiting_and_loading_are_said_before_any_trend(run: RunFolder) -> None:
    train(run, FALLING)
    run.write_status(RunStatus("running", phase="loading"))
    assert in_words(seen(run)) == "running: loading"
    run.write_status(RunStatus("running", phase="paused", note="paused: somebody asked"))
    assert in_words(seen(run), now=time.time() + 3600) == "paused: somebody asked"


def test_a_silent_run_may_hang(run: RunFolder) -> None:
    train(run, FALLING)
    view = seen(run)
    assert in_words(view, now=time.time() + 20).startswith("learning")
    assert "it may hang" in in_words(view, now=time.time() + 60)
    silent = view.summary.age(now=time.time() + 60)
    assert silent is not None and 59 < silent < 65


def test_a_run_that_hangs_with_a_beating_heart_is_found_out(run: RunFolder) -> None:
    """The heartbeat comes from a thread of its own: it goes on when the training loop waits for ever."""
    long_ago = time.time() - 3600
    with run.events.open("w") as out:
        for step, loss in enumerate(FALLING, 1):
            event = {"v": 1, "t": long_ago, "seq": step, "type": "step", "step": step, "loss": loss, "step_time_s": 0.5}
            out.write(json.dumps(event) + "\n")
    EventWriter(run).write("heartbeat", step=30, phase="training")
    assert "it may hang" in in_words(seen(run))


def test_an_ended_run_says_how(run: RunFolder) -> None:
    train(run, FALLING)
    verdict = {"kind": "oom-gpu", "message": "the GPU ran out of memory"}
    run.write_status(RunStatus("failed", step=30, verdict=verdict))
    assert in_words(seen(run)) == "failed: the GPU ran out of memory"
