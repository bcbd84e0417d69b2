"""The mailbox: letters in order, rubbish thrown away, and nobody asked or killed who is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.errors import RunError
from trainer.runs import control
from trainer.runs.folder import RunFolder, RunStatus, write_json
from trainer.runs.identity import identify


def make(home: Path, state: RunStatus) -> RunFolder:
    run = RunFolder.create(home, name="a", method="sft", recipe={}, origins={}, command=["test"])
    run.write_status(state)
    return run


def test_letters_come_oldest_first_and_rubbish_is_thrown_away(tmp_path: Path) -> None:
    run = make(tmp_path, RunStatus("running", step=3))
    write_json(run.proc, {"trainer": identify(os.getpid()).as_dict()})  # alive, as far as anybody can tell
    wanted: tuple[control.Request, ...] = ("pause", "save", "continue")
    ids = [control.request(run, what, "me@box") for what in wanted]
    (run.control / "1-torn.json").write_text('{"request": "st')
    (run.control / "2-odd.json").write_text('{"request": 7}')
    write_json(run.kill_note, {"by": "me@box"})
    letters = control.pending(run)
    assert [letter.request for letter in letters] == list(wanted)
    assert [letter.id for letter in letters] == ids
    assert {letter.by for letter in letters} == {"me@box"}
    assert sorted(path.name for path in run.control.iterdir()) == [*(f"{name}.json" for name in ids), "killed-by"]


def test_who_asks_is_written_down_even_when_not_said(tmp_path: Path) -> None:
    run = make(tmp_path, RunStatus("running"))
    write_json(run.proc, {"trainer": identify(os.getpid()).as_dict()})
    control.request(run, "stop")
    user, _, host = control.pending(run)[0].by.partition("@")
    assert user and host


def test_an_ended_run_is_asked_nothing(tmp_path: Path) -> None:
    run = make(tmp_path, RunStatus("finished", step=3))
    with pytest.raises(RunError, match="is not running") as refused:
        control.request(run, "stop")
    assert refused.value.exit_code == 2
    assert not list(run.control.iterdir())


def test_a_pid_that_another_process_got_is_not_killed(tmp_path: Path) -> None:
    run = make(tmp_path, RunStatus("running", step=3))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        now = identify(bystander.pid)
        write_json(run.proc, {"trainer": replace(now, start_ticks=now.start_ticks - 100).as_dict()})
        with pytest.raises(RunError, match="is gone already"):
            control.kill_now(run, "me@box")
        assert not run.kill_note.exists()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_run_without_a_trainer_has_nothing_to_kill(tmp_path: Path) -> None:
    run = make(tmp_path, RunStatus("starting"))
    with pytest.raises(RunError, match="no trainer"):
        control.kill_now(run)
