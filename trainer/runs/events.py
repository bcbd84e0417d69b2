"""The event log of a run: one line an event, appended by one write, never blocking on anything but a full disk."""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainer.runs.folder import RunFolder
from trainer.runs.model import Event

_RETRY_S = 1.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class EventWriter:
    """Appends events to a run. A line that a killed writer left torn is closed first, so that ours stands alone.

    On a full disk `write` waits until there is room, and calls `waiting` (seconds waited so far) once a second:
    training pauses, it does not die.
    """

    def __init__(self, run: RunFolder, waiting: Callable[[float], None] | None = None) -> None:
        self._waiting = waiting
        self._guard = threading.Lock()
        self._handle = os.open(run.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._seq = last_seq(run.events)
        if _is_torn(run.events):
            self._append(b"\n")

    def write(self, type: str, **fields: Any) -> None:
        """Append one event; values that are not finite become null and are named in `nonfinite`."""
        with self._guard:
            self._seq += 1
            event: dict[str, Any] = {"v": 1, "t": round(time.time(), 3), "seq": self._seq, "type": type}
            nonfinite = [key for key, value in fields.items() if isinstance(value, float) and not math.isfinite(value)]
            event.update(fields)
            if nonfinite:
                event.update(dict.fromkeys(nonfinite), nonfinite=nonfinite)
            line = json.dumps(event, separators=(",", ":"), default=str, allow_nan=False)
            self._append(line.encode("utf-8", "surrogatepass") + b"\n")

    def _append(self, line: bytes) -> None:
        waited = 0.0
        while line:
            try:
                line = line[os.write(self._handle, line) :]
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                if self._waiting:
                    self._waiting(waited)
                time.sleep(_RETRY_S)
                waited += _RETRY_S

    def close(self) -> None:
        os.close(self._handle)


def read_events(path: Path) -> Iterator[Event]:
    """Every whole event of a log in order; torn lines are left out."""
    try:
        with path.open("rb") as lines:
            for line in lines:
                if event := parse(line):
                    yield event
    except FileNotFoundError:
        return


def parse(line: bytes) -> Event | None:
    """The event of one line, None where the line is torn or no event."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "type" in event else None


def tail(path: Path, size: int = 1 << 16) -> list[Event]:
    """The whole events in the last `size` bytes of a log."""
    try:
        with path.open("rb") as log:
            length = log.seek(0, os.SEEK_END)
            log.seek(max(length - size, 0))
            lines = log.read().split(b"\n")
    except FileNotFoundError:
        return []
    return [event for line in (lines if length <= size else lines[1:]) if line and (event := parse(line))]


def last_seq(path: Path) -> int:
    """The highest sequence number near the end of a log, 0 for none."""
    size, length = 1 << 16, path.stat().st_size
    while not (events := tail(path, size)) and size < length:  # one line may be longer than the end that was read
        size *= 8
    return max((event.get("seq", 0) for event in events), default=0)


def _is_torn(path: Path) -> bool:
    with path.open("rb") as log:
        if log.seek(0, os.SEEK_END) == 0:
            return False
        log.seek(-1, os.SEEK_END)
        return log.read(1) != b"\n"
