"""Logs of days of training: opened at once, refined behind a run that goes on, never out of order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.reader import RunReader

STEPS = 200_000


def lines(first: int, last: int) -> Iterator[str]:
    for step in range(first, last + 1):
        yield f'{{"v":1,"t":0,"seq":{step},"type":"step","step":{step},"total":{STEPS},"loss":{1 / step:.6f}}}\n'


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.create(tmp_path, name="a", method="sft", recipe={}, origins={}, command=["test"])
    run.write_status(RunStatus("finished", step=STEPS))
    return run


def write(run: RunFolder, *texts: Iterator[str] | list[str]) -> None:
    with run.events.open("a") as out:
        for text in texts:
            out.writelines(text)


def resumed_from(step: int) -> list[str]:
    return [json.dumps({"v": 1, "t": 0, "seq": 1, "type": "run.start", "attempt": 2, "resumed_from": step}) + "\n"]


def refined(reader: RunReader) -> int:
    """Slices that were read until nothing was left."""
    slices = 1
    while reader.refine():
        slices += 1
    return slices


def test_opening_takes_no_longer_than_a_moment_and_refining_comes_in_slices(run: RunFolder) -> None:
    write(run, lines(1, 500), ['{"v":1,"t":0,"torn\n'], lines(501, STEPS))
    reader = RunReader(run, points=100)
    before = time.perf_counter()
    view = reader.open()
    opened = time.perf_counter() - before
    assert not view.complete
    loss = view.series["loss"]
    assert loss.steps[-1] == STEPS and loss.steps[0] < STEPS // 50
    assert 100 <= len(loss.steps) <= 200

    before = time.perf_counter()
    assert refined(reader) > 4
    assert opened < (time.perf_counter() - before) / 5  # reading all of it is what opening does not do
    view = reader.poll()
    assert view.complete
    assert (view.events_seen, view.events_torn) == (STEPS, 1)
    assert len(view.series["loss"].steps) <= 200


def test_a_run_goes_on_while_its_past_is_read(run: RunFolder) -> None:
    write(run, lines(1, STEPS))
    reader, other = RunReader(run), RunReader(run)
    reader.open()
    reader.refine()
    write(run, lines(STEPS + 1, STEPS + 10))
    view = reader.poll()
    assert not view.complete and view.series["loss"].steps[-1] == STEPS + 10
    refined(reader)
    write(run, lines(STEPS + 11, STEPS + 20))
    other.open()
    refined(other)
    assert reader.poll().series == other.poll().series
    assert reader.poll().events_seen == STEPS + 20


@pytest.mark.parametrize("whole", [False, True])
def test_a_resume_leaves_no_step_out_of_order(run: RunFolder, whole: bool) -> None:
    write(run, lines(1, STEPS // 2), resumed_from(STEPS // 4), lines(STEPS // 4 + 1, STEPS))
    reader = RunReader(run, points=100)
    view = reader.open()
    if whole:
        refined(reader)
        view = reader.poll()
    loss = view.series["loss"]
    assert list(loss.steps) == sorted(set(loss.steps))
    assert loss.steps[-1] == STEPS


def test_a_run_without_a_log_is_an_empty_view(run: RunFolder) -> None:
    reader = RunReader(run)
    view = reader.open()
    assert (view.series, view.events_seen, view.complete) == ({}, 0, True)
    assert reader.tail_log(5) == []


def test_the_console_ends_with_what_a_terminal_would_show(run: RunFolder) -> None:
    run.console.write_text("first\n" + "".join(f" {done}%|\r" for done in range(100)) + "done\n\nlast\n")
    assert RunReader(run).tail_log(2) == ["done", "last"]
    assert RunReader(run).tail_log(50) == ["first", "done", "last"]
