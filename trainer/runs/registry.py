"""Which runs there are and what state each is in, from their folders alone."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.runs import verdict as verdicts
from trainer.runs.events import tail
from trainer.runs.folder import RunFolder, RunStatus, read_json, runs_home
from trainer.runs.identity import Identity, boot_id, is_alive
from trainer.runs.model import LIVE_STATES, RunSummary, State, Verdict

_LAUNCH_GRACE_S = 20.0  # a run without a process younger than this is being launched
_NO_ROOM_BYTES = 64 << 10


def folders(home: Path | None = None) -> list[RunFolder]:
    """Every run folder, newest first."""
    root = runs_home(home)
    try:
        found = [RunFolder(Path(entry.path)) for entry in os.scandir(root)]
    except FileNotFoundError:
        return []
    made = {run: stamp for run in found if (stamp := _made(run)) is not None}
    return sorted(made, key=lambda run: made[run], reverse=True)


def _made(run: RunFolder) -> tuple[str, int] | None:
    """When a run was made: the second in its name, then its record's time; None where there is no record."""
    try:
        return run.id[:15], run.run_json.stat().st_mtime_ns
    except OSError:
        return None


def summaries(home: Path | None = None) -> list[RunSummary]:
    """Every readable run, newest first."""
    found = []
    for folder in folders(home):
        try:
            found.append(summary(folder))
        except RunError:  # removed or being written in this moment
            continue
    return found


def families(runs: Sequence[RunSummary]) -> list[tuple[int, RunSummary]]:
    """Every run with its depth in the lineage, each under the run that it went on from; newest families first."""
    known = {run.id for run in runs}
    children: dict[str | None, list[RunSummary]] = {}
    for run in sorted(runs, key=lambda run: run.created_at):
        children.setdefault(run.parent if run.parent in known else None, []).append(run)

    def family(run: RunSummary, depth: int) -> list[tuple[int, RunSummary]]:
        return [(depth, run), *(one for child in children.get(run.id, []) for one in family(child, depth + 1))]

    grown = [family(root, 0) for root in children.get(None, [])]
    grown.sort(key=lambda members: max(run.created_at for _, run in members), reverse=True)
    return [member for members in grown for member in members]


def find(query: str, home: Path | None = None) -> RunFolder:
    """The run of that id, unique part of an id, name (the newest of it), path, or `last`. Raises RunError."""
    path = Path(query).expanduser()
    if "/" in query or query == ".":
        if (path / "run.json").exists():
            return RunFolder(path.resolve())
        raise RunError(f"{query} is not a run folder", "`burnish runs` lists the runs")
    every = folders(home)
    if query == "last" and every:
        return every[0]
    for matching in (
        [run for run in every if run.id == query],
        [run for run in every if (read_json(run.run_json) or {}).get("name") == query][:1],
        [run for run in every if query in run.id],
    ):
        if len(matching) == 1:
            return matching[0]
        if matching:
            some = ", ".join(run.id for run in matching[:4])
            raise RunError(f"`{query}` fits {len(matching)} runs: {some}", "give more of the id")
    raise RunError(f"no run `{query}`" if every else "there are no runs yet", "`burnish runs` lists the runs")


def summary(run: RunFolder) -> RunSummary:
    """The state of one run now. Raises RunError where the folder is no run."""
    record = run.record()
    status = run.read_status() or RunStatus("starting")
    proc = read_json(run.proc) or {}
    state, verdict, supervised = _judge(run, record, status, proc)
    last = _last_event_at(run)
    trainer = proc.get("trainer")
    return RunSummary(
        id=run.id,
        name=str(record["name"]),
        method=str(record["method"]),
        state=state,
        phase=status.phase if state in LIVE_STATES else "",
        step=status.step,
        total_steps=status.total_steps,
        loss=status.loss,
        eta_s=status.eta_s if state in LIVE_STATES else None,
        metrics=status.metrics,
        created_at=float(record["created_at"]),
        started_at=status.started_at,
        ended_at=status.ended_at or (last if state not in LIVE_STATES else None),
        last_event_at=last,
        verdict=verdict,
        parent=record.get("parent"),
        path=str(run.path),
        supervised=supervised,
        trainer_pid=int(trainer["pid"]) if trainer and state in LIVE_STATES else None,
        note=_note(run, status, supervised) if state in LIVE_STATES else "",
    )


def is_locked(run: RunFolder) -> bool:
    """Whether a supervisor holds the run's lock: alive means locked, whatever a pid says."""
    try:
        handle = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _judge(
    run: RunFolder, record: dict[str, Any], status: RunStatus, proc: dict[str, Any]
) -> tuple[State, Verdict | None, bool]:
    """(state, verdict, supervised): the lock first, then the trainer's identity, then the last words."""
    if is_locked(run):
        return status.state, verdicts.from_dict(status.verdict), True
    if status.state not in LIVE_STATES:
        return status.state, verdicts.from_dict(status.verdict), True
    if "trainer" in proc and is_alive(Identity.from_dict(proc["trainer"])):
        return ("running" if status.state == "starting" else status.state), None, False
    for event in reversed(tail(run.events)):  # the last word may be in the events and not in the status: a full disk
        if event["type"] == "run.end":
            return event.get("state", "failed"), verdicts.from_dict(event.get("verdict")), True
        if event["type"] == "run.start":
            break
    if not proc and time.time() - float(record["created_at"]) < _LAUNCH_GRACE_S:
        return "starting", None, True
    supervisor = proc.get("supervisor")
    if supervisor and supervisor["boot_id"] != boot_id():
        lost = Verdict("restarted", "the machine restarted while the run was going", "`burnish resume`")
    else:
        lost = Verdict("lost", "trainer and supervisor went away without a last word", "`burnish resume`")
    return "lost", lost, True


def _last_event_at(run: RunFolder) -> float | None:
    try:
        return run.events.stat().st_mtime
    except FileNotFoundError:
        return None


def _note(run: RunFolder, status: RunStatus, supervised: bool) -> str:
    if shutil.disk_usage(run.path).free < _NO_ROOM_BYTES:
        return "the disk is full: training waits for room"
    if not supervised:
        return "its supervisor is gone; the trainer goes on by itself"
    return status.note
