"""What state a run is in, from its folder alone; and which run is meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import RunError
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus, write_json
from trainer.runs.identity import Identity, identify
from trainer.runs.registry import find, folders, is_locked, summaries, summary
from trainer.runs.supervisor import take_lock


def make(home: Path, name: str = "a") -> RunFolder:
    return RunFolder.create(home, name=name, method="sft", recipe={}, origins={}, command=["test"])


def change(path: Path, **fields: Any) -> None:
    write_json(path, {**json.loads(path.read_text()), **fields})


@pytest.fixture
def living() -> Iterator[Identity]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield identify(process.pid)
    process.kill()
    process.wait()


@pytest.fixture
def gone(living: Identity) -> Identity:
    """Of this boot, its pid now another process's."""
    return replace(living, start_ticks=living.start_ticks - 1)


def test_a_run_without_a_process_is_starting_at_first_and_then_lost(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert (summary(run).state, summary(run).live) == ("starting", True)
    change(run.run_json, created_at=time.time() - 60)
    found = summary(run)
    assert (found.state, found.live) == ("lost", False)
    assert found.verdict and found.verdict.kind == "lost"


def test_a_restart_of_the_machine_is_told_from_a_loss(tmp_path: Path, gone: Identity) -> None:
    run = make(tmp_path)
    run.write_status(RunStatus("running", phase="training", step=7))
    for supervisor, kind in ((gone, "lost"), (replace(gone, boot_id="an-earlier-one"), "restarted")):
        write_json(run.proc, {"supervisor": supervisor.as_dict(), "trainer": gone.as_dict()})
        found = summary(run)
        assert found.state == "lost" and found.verdict
        assert found.verdict.kind == kind
        assert "resume" in found.verdict.hint
        assert (found.step, found.phase, found.trainer_pid) == (7, "", None)


def test_a_trainer_without_its_supervisor_is_running_and_said_to_be_alone(
    tmp_path: Path, living: Identity, gone: Identity
) -> None:
    run = make(tmp_path)
    run.write_status(RunStatus("running", phase="training", step=7))
    write_json(run.proc, {"supervisor": gone.as_dict(), "trainer": living.as_dict()})
    found = summary(run)
    assert (found.state, found.live, found.supervised) == ("running", True, False)
    assert found.trainer_pid == living.pid
    assert "supervisor is gone" in found.note


def test_an_ended_run_stays_ended_whoever_has_its_pid(tmp_path: Path, living: Identity) -> None:
    run = make(tmp_path)
    run.write_status(RunStatus("finished", step=9, verdict={"kind": "completed", "message": "done"}))
    write_json(run.proc, {"supervisor": living.as_dict(), "trainer": living.as_dict()})
    found = summary(run)
    assert (found.state, found.live, found.trainer_pid) == ("finished", False, None)


def test_the_last_word_of_an_earlier_attempt_does_not_count(tmp_path: Path, gone: Identity) -> None:
    run = make(tmp_path)
    run.write_status(RunStatus("running", step=9, attempt=2))
    write_json(run.proc, {"supervisor": gone.as_dict(), "trainer": gone.as_dict()})
    writer = EventWriter(run)
    writer.write("run.end", state="finished", attempt=1, verdict={"kind": "stopped"})
    writer.write("run.start", attempt=2, resumed_from=5)
    assert summary(run).state == "lost"


def test_torn_files_beside_the_record_are_as_good_as_none(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.status.write_text('{"state": "runn')
    run.proc.write_text('{"supervisor": {')
    assert summary(run).state == "starting"


def test_one_supervisor_holds_the_lock_and_looking_at_it_takes_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert not is_locked(run)
    first = take_lock(run.lock, wait_s=0)
    assert first is not None
    assert is_locked(run)
    assert is_locked(run)
    assert take_lock(run.lock, wait_s=0) is None
    os.close(first)
    assert not is_locked(run)
    again = take_lock(run.lock, wait_s=0)
    assert again is not None
    os.close(again)


def test_last_is_the_newest_even_of_one_second(tmp_path: Path) -> None:
    made = [make(tmp_path, name) for name in ("d", "b", "e", "a", "c", "c")]
    assert find("last", tmp_path) == made[-1]
    assert find("c", tmp_path) == made[-1]
    assert folders(tmp_path) == made[::-1]


def test_a_broken_neighbour_hides_no_other_run(tmp_path: Path) -> None:
    good, torn, empty = make(tmp_path, "good"), make(tmp_path, "torn"), make(tmp_path, "empty")
    torn.run_json.write_text("")  # what a power cut may leave
    empty.run_json.write_text("{}")
    assert find("good", tmp_path) == find(good.id, tmp_path) == good
    assert [run.id for run in summaries(tmp_path)] == [good.id]
    for run in (torn, empty):
        with pytest.raises(RunError) as error:
            summary(run)
        assert error.value.exit_code == 2


def test_a_path_is_taken_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path)
    monkeypatch.chdir(run.path)
    assert find(".") == find("./") == run
    monkeypatch.chdir(run.path.parent)
    assert find(f"./{run.id}").path == run.path
    with pytest.raises(RunError, match="not a run folder"):
        find("./other")
    with pytest.raises(RunError, match="no runs yet"):
        find("last", tmp_path / "elsewhere")
