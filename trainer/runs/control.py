"""The mailbox of a run: small files that ask for something, looked at by the trainer after every step."""

from __future__ import annotations

import getpass
import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.errors import RunError
from trainer.runs.folder import RunFolder, read_json, write_json
from trainer.runs.identity import Identity, send_group
from trainer.runs.registry import summary

Request = Literal["stop", "save", "evaluate", "pause", "continue"]


@dataclass(frozen=True)
class Letter:
    """One request as it lies in the mailbox."""

    id: str
    request: str
    by: str
    path: Path


def me() -> str:
    """Who asks: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def request(run: RunFolder, what: Request, by: str = "") -> str:
    """Ask a live run for something; returns the request's id. Raises RunError where nobody would read it."""
    if not summary(run).live:
        raise RunError(f"{run.id} is not running", "`burnish runs` shows the state of each run")
    name = f"{time.time_ns()}-{secrets.token_hex(2)}"
    write_json(run.control / f"{name}.json", {"request": what, "by": by or me(), "t": time.time()})
    return name


def pending(run: RunFolder) -> list[Letter]:
    """The requests that wait, oldest first. A file that is no request is removed."""
    letters = []
    try:
        names = sorted(entry.name for entry in os.scandir(run.control) if entry.name[0].isdigit())
    except FileNotFoundError:
        return []
    for name in names:
        path = run.control / name
        data = read_json(path)
        if data is None or not isinstance(data.get("request"), str):
            path.unlink(missing_ok=True)
            continue
        letters.append(Letter(path.stem, data["request"], str(data.get("by", "")), path))
    return letters


def kill_now(run: RunFolder, by: str = "") -> None:
    """Kill the trainer's process group at once. Raises RunError where the very process is gone already."""
    data = read_json(run.proc) or {}
    if "trainer" not in data:
        raise RunError(f"{run.id} has no trainer to kill", "`burnish runs` shows the state of each run")
    trainer = Identity.from_dict(data["trainer"])
    write_json(run.kill_note, {"by": by or me(), "t": time.time()})
    if not send_group(trainer, signal.SIGKILL):
        run.kill_note.unlink(missing_ok=True)
        raise RunError(f"the trainer of {run.id} is gone already", "`burnish runs` shows how it ended")
