"""Readers: several at once, torn lines, a log too long to read whole, a resumed run; and the sentence on top."""

from __future__ import annotations

import json
import time
from pathlib import Path

from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.health import in_words
from trainer.runs.reader import RunReader


def make(home: Path) -> RunFolder:
    run = RunFolder.create(home, name="a", method="sft", recipe={}, origins={}, command=["test"])
    run.write_status(RunStatus("finished", step=1))
    return run


def steps(run: RunFolder, first: int, last: int, loss: float = 1.0) -> None:
    with run.events.open("a") as out:
        for step in range(first, last + 1):
            event = {"v": 1, "t": 0, "seq": step, "type": "step", "step": step, "total": last, "loss": loss / step}
            out.write(json.dumps(event, separators=(",", ":")) + "\n")


def test_two_readers_agree_and_follow(tmp_path: Path) -> None:
    run = make(tmp_path)
    steps(run, 1, 50)
    one, two = RunReader(run), RunReader(run)
    assert one.open().series == two.open().series
    steps(run, 51, 60)
    with run.events.open("a") as out:
        out.write('{"v":1,"t":0,"seq":61,"type":"st')
    seen = one.poll()
    assert seen.series["loss"].steps[-1] == 60 and seen.events_torn == 0  # the last line is being written
    with run.events.open("a") as out:
        out.write("\n")
    EventWriter(run).write("sample", step=60, index=0, prompt="p", completion="c", reference="r")
    for reader in (one, two):
        view = reader.poll()
        assert view.events_torn == 1 and view.events_seen == 61
        assert [event["completion"] for event in view.samples] == ["c"]


def test_a_long_log_opens_sampled_and_becomes_exact(tmp_path: Path) -> None:
    run = make(tmp_path)
    steps(run, 1, 90_000)
    with run.events.open("a") as out:
        out.write('{"v":1,"t":0,"seq":1,"type":"alert","kind":"x","message":"early"}\n')
    steps(run, 90_001, 200_000)
    reader = RunReader(run, points=200)
    view = reader.open()
    assert not view.complete
    assert view.series["loss"].steps[-1] == 200_000 and len(view.series["loss"].steps) <= 400
    while reader.refine():
        pass
    view = reader.poll()
    loss = view.series["loss"]
    assert view.complete and view.events_seen == 200_001
    assert len(loss.steps) <= 400 and max(loss.high) == 1.0 and min(loss.low) == 1 / 200_000
    assert [event["message"] for event in view.alerts] == ["early"]


def test_a_resumed_run_shows_each_step_once(tmp_path: Path) -> None:
    run = make(tmp_path)
    steps(run, 1, 30)
    EventWriter(run).write("run.start", attempt=2, resumed_from=20)
    steps(run, 21, 40, loss=2.0)
    loss = RunReader(run).open().series["loss"]
    assert list(loss.steps) == list(range(1, 41))
    assert loss.last[24] == 2.0 / 25


def test_health_is_said_in_words(tmp_path: Path) -> None:
    run = make(tmp_path)
    lock = _held(run)
    for loss, words in ((5.0, "learning: loss falls"), (-1.0, "trouble: loss rises")):
        run.events.unlink(missing_ok=True)
        with run.events.open("w") as out:
            for step in range(1, 40):
                value = loss / step if loss > 0 else step
                out.write(
                    json.dumps({"type": "step", "step": step, "total": 40, "loss": value, "step_time_s": 1.0}) + "\n"
                )
        run.write_status(RunStatus("running", phase="training", step=39))
        view = RunReader(run).open()
        assert in_words(view).startswith(words)
        assert "it may hang" in in_words(view, now=time.time() + 3600)
    lock.close()
    run.write_status(RunStatus("failed", verdict={"kind": "error", "message": "it broke \x1b[2J"}))
    assert in_words(RunReader(run).open()) == "failed: it broke �[2J"


def _held(run: RunFolder):  # type: ignore[no-untyped-def]
    import fcntl

    lock = run.lock.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
