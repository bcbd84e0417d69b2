"""Which process is meant: a pid alone is reused, a pid with its start time and the boot it belongs to is not."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Identity:
    """A process: pid, start time in clock ticks since boot, boot id, process group."""

    pid: int
    start_ticks: int
    boot_id: str
    pgid: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Identity:
        return cls(int(data["pid"]), int(data["start_ticks"]), str(data["boot_id"]), int(data["pgid"]))


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> Identity:
    """The identity of a live process. Raises ProcessLookupError where there is none."""
    _, ticks, pgid = _stat(pid)
    return Identity(pid, ticks, boot_id(), pgid)


def is_alive(identity: Identity) -> bool:
    """Whether that very process still runs; a zombie does not."""
    try:
        state, ticks, _ = _stat(identity.pid)
    except ProcessLookupError:
        return False
    return state not in "ZX" and ticks == identity.start_ticks and identity.boot_id == boot_id()


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal that very process; False, and nothing sent, where it is gone. The pidfd closes the race with pid reuse."""
    try:
        handle = os.pidfd_open(identity.pid)
    except OSError:
        return False
    try:
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def send_group(identity: Identity, number: signal.Signals) -> bool:
    """Signal the whole process group of that very process, if it leads one; False where it is gone."""
    if identity.pgid != identity.pid or not is_alive(identity):
        return False
    try:
        os.killpg(identity.pgid, number)
    except ProcessLookupError:
        return False
    return True


def _stat(pid: int) -> tuple[str, int, int]:
    """(state letter, start ticks, process group) from /proc; the name in it may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        raise ProcessLookupError(pid) from None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19]), int(fields[2])
