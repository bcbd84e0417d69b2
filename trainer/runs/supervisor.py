"""The process between a run and the world: starts the trainer, holds the run's lock, writes the verdict.

`python -m trainer.runs.supervisor RUN_DIR [--resume]` returns at once with 0 when the supervisor, detached in a session
of its own, holds the lock. `--warm WARM_DIR` instead keeps a trainer whose imports are done waiting for a run. Nothing
outside the standard library is loaded here: a supervisor costs a run some megabytes, and cannot fail on a library.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.runs import verdict as verdicts
from trainer.runs.events import EventWriter, tail
from trainer.runs.folder import RunFolder, RunStatus, read_json, write_json
from trainer.runs.identity import identify
from trainer.runs.model import LIVE_STATES, State
from trainer.runs.warm import FIFO, READY, clear

BUSY = 3  # exit code: another supervisor holds the lock
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--idle", type=float, default=900.0)
    arguments = parser.parse_args()
    if arguments.warm:
        return detached(arguments.folder / "console.log", lambda up: keep_warm(arguments.folder, arguments.idle, up))
    run = RunFolder(arguments.folder.resolve())
    return detached(run.console, lambda up: supervise(run, up, resume=arguments.resume))


def detached(log: Path, work: Callable[[Callable[[], None]], int]) -> int:
    """Run `work(up)` in a new session without terminal or pipe; return once it called `up`, or its exit code.

    The fork hands the child to init, so whoever launched us has no child to wait for and may die at any moment.
    """
    heard, said = os.pipe()
    if child := os.fork():
        os.close(said)
        if os.read(heard, 1):
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or 1
    os.close(heard)
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with Path(os.devnull).open() as nothing, log.open("ab") as out:
        os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)

    def up() -> None:
        os.write(said, b"1")
        os.close(said)

    return work(up)


def supervise(
    run: RunFolder, up: Callable[[], None], *, resume: bool = False, trainer: subprocess.Popen[bytes] | None = None
) -> int:
    """Hold the run's lock from before the trainer starts until after the verdict. `trainer`: a warm one to use."""
    lock = take_lock(run.lock)
    if lock is None:
        return BUSY
    before = run.read_status() or RunStatus("starting")
    attempt = before.attempt + 1 if resume else 1
    run.write_status(
        RunStatus(
            "starting",
            phase="starting",
            step=before.step,
            total_steps=before.total_steps,
            loss=before.loss,
            attempt=attempt,
            started_at=before.started_at or time.time(),
        )
    )
    run.kill_note.unlink(missing_ok=True)
    processes = {"attempt": attempt, "supervisor": identify(os.getpid()).as_dict()}
    write_json(run.proc, processes)
    kills = verdicts.oom_kills()
    order = {"run": str(run.path), "attempt": attempt, "resume": resume}
    if trainer is None:
        trainer = start_trainer(
            ["--order", json.dumps(order)], run.console, _environment(run), stdin=subprocess.DEVNULL
        )
    else:
        assert trainer.stdin
        trainer.stdin.write(json.dumps({**order, "environment": _environment(run)}).encode() + b"\n")
        trainer.stdin.close()
    write_json(run.proc, {**processes, "trainer": identify(trainer.pid).as_dict()})
    # The trainer finishes its step and saves. Not terminate(): it may reap the child under our own wait.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(trainer.pid, signal.SIGTERM))
    up()
    returncode = _wait(trainer)
    status = run.read_status()
    if status is None or status.attempt != attempt or status.state in LIVE_STATES:
        _last_word(run, status or before, attempt, returncode, verdicts.oom_kills() - kills)
    for letter in run.control.iterdir():
        letter.unlink(missing_ok=True)
    os.close(lock)
    return 0


def keep_warm(folder: Path, idle_s: float, up: Callable[[], None]) -> int:
    """Keep a trainer with its imports done until a run claims it, `quit` is asked, or `idle_s` seconds pass."""
    lock = take_lock(folder / "lock", wait_s=0)
    if lock is None:
        return BUSY
    clear(folder)
    os.mkfifo(folder / FIFO, 0o600)
    mailbox = os.open(folder / FIFO, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    trainer = start_trainer(
        ["--warm", str(folder / READY)], folder / "console.log", dict(os.environ), stdin=subprocess.PIPE
    )
    write_json(folder / "proc.json", {"trainer": identify(trainer.pid).as_dict()})
    up()
    gone = os.pidfd_open(trainer.pid)
    readable = select.select([mailbox, gone], [], [], idle_s)[0]
    order = os.read(mailbox, 4096).decode().strip() if mailbox in readable else "quit"
    clear(folder)
    os.close(lock)  # the next warm trainer may come up while this one trains
    if order == "quit":
        trainer.kill()
        trainer.wait()
        return 0
    run = RunFolder(Path(order))
    with run.console.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    return supervise(run, lambda: None, trainer=trainer)


def take_lock(path: Path, wait_s: float = 2.0) -> int | None:
    """An exclusive flock on `path`, None where another holds it. Readers that test it hold it for an instant only."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(handle)
                return None
            time.sleep(0.02)


def start_trainer(arguments: list[str], log: Path, environment: dict[str, str], stdin: int) -> subprocess.Popen[bytes]:
    """The trainer in a session of its own, its output in `log`. -P: nothing is imported from the working folder."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "trainer.worker.main", *arguments],
            stdin=stdin,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _environment(run: RunFolder) -> dict[str, str]:
    environment = dict(os.environ)
    gpus = run.record()["recipe"].get("resources", {}).get("gpus", [])
    if gpus:  # NVML counts in PCI order, CUDA by default does not
        environment |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
    return {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}


def _wait(trainer: subprocess.Popen[bytes]) -> int:
    """The trainer's return code; orphans of it that came to us are reaped on the way."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == trainer.pid:
            trainer.returncode = os.waitstatus_to_exitcode(status)
            break
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return trainer.returncode


def _last_word(run: RunFolder, status: RunStatus, attempt: int, returncode: int, oom_kills: int) -> None:
    """The verdict on a trainer that left none."""
    end = next((event for event in reversed(tail(run.events)) if event["type"] in ("run.end", "run.start")), {})
    if end.get("type") == "run.end" and end.get("attempt") == attempt:  # only the status could not be written
        state: State = end["state"]
        said: dict[str, Any] = end["verdict"]
    else:
        note = read_json(run.kill_note)
        with run.console.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - 65536, 0))
            lines = log.read().decode("utf-8", "replace").splitlines()
        killed_by = str(note.get("by")) if note else None
        verdict = verdicts.of_exit(returncode, lines, killed_by=killed_by, oom_kills=oom_kills)
        state, said = ("killed" if verdict.signal else "failed"), verdicts.as_dict(verdict)
        writer = EventWriter(run)
        writer.write("run.end", state=state, step=status.step, attempt=attempt, verdict=said)
        writer.close()
    ended = RunStatus(
        state,
        step=status.step,
        total_steps=status.total_steps,
        loss=status.loss,
        metrics=status.metrics,
        attempt=attempt,
        started_at=status.started_at,
        ended_at=time.time(),
        verdict=said,
    )
    while True:
        try:
            run.write_status(ended)
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
