"""One trainer with its imports done, waiting for a run: importing costs seconds, and a person's choosing covers them.

It lives under a supervisor of its own in `$BURNISH_HOME/warm`, holds no GPU, and goes away when it is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.home import burnish_home
from trainer.runs.folder import RunFolder, read_json
from trainer.runs.identity import Identity, is_alive

FIFO, READY, CLAIMED = "claim.fifo", "ready.json", "claimed.json"
_ROOM_GIB = 4.0  # below this much available memory the box has better uses for half a gigabyte
# What a run inherits from the shell that it is launched from; a warm trainer of another shell does not fit.
_INHERITED = ("CUDA", "HF_", "HUGGING", "TRANSFORMERS", "TORCH", "PYTORCH", "NCCL", "OMP_", "MKL_", "BNB_", "NVIDIA")


@dataclass(frozen=True)
class Warm:
    """The state of the warm trainer."""

    state: Literal["none", "importing", "ready"]
    trainer_pid: int | None = None


def folder(home: Path | None = None) -> Path:
    return (home or burnish_home()) / "warm"


def ensure(home: Path | None = None, idle_s: float = 900.0) -> bool:
    """Start a warm trainer unless one waits; False where there is too little memory to spare. Returns at once."""
    if status(home).state != "none":
        return True
    if _available_gib() < _ROOM_GIB:
        return False
    place = folder(home)
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "trainer.runs.supervisor", str(place), "--warm", "--idle", str(idle_s)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def status(home: Path | None = None) -> Warm:
    """Whether a trainer waits, is still importing, or is not there."""
    place = folder(home)
    data = read_json(place / "proc.json")
    if data is None or not is_alive(Identity.from_dict(data["trainer"])):
        return Warm("none")
    return Warm("ready" if (place / READY).exists() else "importing", int(data["trainer"]["pid"]))


def claim(run: RunFolder, home: Path | None = None) -> bool:
    """Give `run` to the waiting trainer. False, and nothing done, where none that fits is ready.

    Renaming the ready file is the claim: of two launches at once exactly one gets it.
    """
    place = folder(home)
    ready = read_json(place / READY)
    if ready is None or ready.get("environment") != environment_mark() or status(home).state != "ready":
        return False
    try:
        (place / READY).rename(place / CLAIMED)
    except FileNotFoundError:
        return False
    try:
        mailbox = os.open(place / FIFO, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # its supervisor is gone
        return False
    os.write(mailbox, f"{run.path}\n".encode())
    os.close(mailbox)
    return True


def dismiss(home: Path | None = None) -> None:
    """Send the waiting trainer away, if there is one."""
    with contextlib.suppress(OSError):
        mailbox = os.open(folder(home) / FIFO, os.O_WRONLY | os.O_NONBLOCK)
        os.write(mailbox, b"quit\n")
        os.close(mailbox)


def environment_mark() -> str:
    """A mark of what a run inherits: interpreter and the environment variables that the libraries read."""
    kept = {key: value for key, value in os.environ.items() if key.startswith(_INHERITED)}
    return hashlib.sha256(json.dumps([sys.executable, os.getuid(), kept], sort_keys=True).encode()).hexdigest()[:16]


def clear(place: Path) -> None:
    """Remove what tells others of a warm trainer."""
    for name in (READY, CLAIMED, FIFO, "proc.json"):
        (place / name).unlink(missing_ok=True)


def _available_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024**2
    return 0.0
