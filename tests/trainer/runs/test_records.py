"""Folder, events, identity, registry, verdicts: what a run leaves on disk, and what is read from it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.errors import RunError
from trainer.runs import verdict as verdicts
from trainer.runs.events import EventWriter, read_events
from trainer.runs.folder import COMPLETE, RunFolder, RunStatus, write_json
from trainer.runs.identity import identify, is_alive, send
from trainer.runs.registry import find, summaries, summary


def make(home: Path, name: str = "a") -> RunFolder:
    return RunFolder.create(home, name=name, method="sft", recipe={}, origins={}, command=["test"])


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\n", "x" * 65, "-rf"])
def test_a_name_that_is_no_plain_name_writes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError) as error:
        make(tmp_path, name)
    assert error.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_torn_line_is_closed_and_the_count_goes_on(tmp_path: Path) -> None:
    run = make(tmp_path)
    EventWriter(run).write("phase", phase="one")
    with run.events.open("ab") as log:
        log.write(b'{"v":1,"t":1,"seq":2,"type":"st')
    writer = EventWriter(run)
    writer.write("step", step=1, loss=float("nan"), grad_norm=float("inf"), lr=0.1)
    events = list(read_events(run.events))
    assert [event["type"] for event in events] == ["phase", "step"]
    assert events[1]["loss"] is None and events[1]["nonfinite"] == ["loss", "grad_norm"]
    assert events[1]["seq"] == 2
    assert run.events.read_text().splitlines()[0].startswith('{"v":1,"t":')
    assert "NaN" not in run.events.read_text()


def test_a_reused_pid_is_not_the_process_and_is_never_signalled() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        real = identify(sleeper.pid)
        assert is_alive(real)
        for other in (replace(real, start_ticks=real.start_ticks - 1), replace(real, boot_id="another")):
            assert not is_alive(other)
            assert not send(other, __import__("signal").SIGKILL)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
    until = time.monotonic() + 5
    while is_alive(real) and time.monotonic() < until:  # not waited for: a zombie by now
        time.sleep(0.01)
    assert not is_alive(real)
    sleeper.wait()


def test_runs_are_found_by_id_part_name_path_and_last(tmp_path: Path) -> None:
    first, second = make(tmp_path, "alpha"), make(tmp_path, "beta")
    assert find(first.id, tmp_path) == find("alpha", tmp_path) == find(first.id[-8:], tmp_path) == first
    assert find(str(second.path)) == second
    assert find("last", tmp_path).id == max(first.id, second.id)
    with pytest.raises(RunError, match="no run `gamma`"):
        find("gamma", tmp_path)
    with pytest.raises(RunError, match="fits 2 runs"):
        find("a-", tmp_path)
    (second.path / "run.json").write_text("{torn")
    assert [run.id for run in summaries(tmp_path)] == [first.id]


def test_the_lock_says_alive_whatever_a_pid_says(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.write_status(RunStatus("running", phase="training", step=5))
    gone = {"pid": 2**22 - 7, "start_ticks": 1, "boot_id": "x", "pgid": 1}
    write_json(run.proc, {"supervisor": gone, "trainer": gone})
    assert summary(run).state == "lost"
    lock = os.open(run.lock, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert summary(run).state == "running" and summary(run).live
    os.close(lock)
    found = summary(run)
    assert found.state == "lost" and found.verdict and found.verdict.kind == "restarted"


def test_a_last_word_in_the_events_counts_where_the_status_missed_it(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.write_status(RunStatus("running", step=9))
    gone = {"pid": 2**22 - 7, "start_ticks": 1, "boot_id": "x", "pgid": 1}
    write_json(run.proc, {"supervisor": gone, "trainer": gone})
    EventWriter(run).write("run.end", state="finished", step=10, verdict={"kind": "completed", "message": "done"})
    assert summary(run).state == "finished"


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    run = make(tmp_path)
    for step in (9, 10, 100):
        (run.checkpoints / f"checkpoint-{step}").mkdir()
    assert run.latest_checkpoint() is None
    for step in (9, 10):
        (run.checkpoints / f"checkpoint-{step}" / COMPLETE).write_text("{}")
    found = run.latest_checkpoint()
    assert found is not None and found.name == "checkpoint-10"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "oom-gpu"),
        (MemoryError("x"), "oom-host"),
        (OSError(28, "No space left on device"), "disk-full"),
        (OSError("We couldn't connect to 'https://huggingface.co'"), "bad-model"),
        (ValueError("odd \x1b[2J thing"), "error"),
    ],
)
def test_exceptions_become_plain_words(error: Exception, kind: str) -> None:
    verdict = verdicts.of_exception(error, ["Traceback", " 10%|#  | 1/10", "\x1b[31mlast\x1b[0m"])
    assert verdict.kind == kind
    assert verdict.hint
    assert "\x1b" not in verdict.message + "".join(verdict.log)
    assert not any("%|" in line for line in verdict.log)


@pytest.mark.parametrize(
    ("returncode", "killed_by", "kills", "kind"),
    [
        (-9, "me@box", 0, "stopped-now"),
        (-9, None, 1, "oom-host"),
        (-9, None, 0, "killed"),
        (-11, None, 0, "killed"),
        (3, None, 0, "error"),
    ],
)  # fmt: skip
def test_exits_become_plain_words(returncode: int, killed_by: str | None, kills: int, kind: str) -> None:
    verdict = verdicts.of_exit(returncode, ["boom"], killed_by=killed_by, oom_kills=kills)
    assert verdict.kind == kind
    assert json.loads(json.dumps(verdicts.as_dict(verdict)))["kind"] == kind
    assert verdicts.from_dict(verdicts.as_dict(verdict)) == verdict
