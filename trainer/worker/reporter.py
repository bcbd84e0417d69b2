"""What the trainer says of itself: events, the status beside them, a heartbeat, and the requests that it answers."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from dataclasses import replace
from types import FrameType
from typing import Any

from trainer.runs import verdict as verdicts
from trainer.runs.control import Letter, pending
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.model import State, Verdict

_STATUS_EVERY_S = 1.0
_HEARTBEAT_S = 10.0


class Reporter:
    """The one writer of a run while its trainer lives."""

    def __init__(self, run: RunFolder, attempt: int) -> None:
        self.run = run
        self.attempt = attempt
        before = run.read_status() or RunStatus("starting")
        self._status = replace(before, state="starting", attempt=attempt, verdict=None, ended_at=None, note="")
        self._written = 0.0
        self._writer = EventWriter(run)
        self._guard = threading.Lock()
        self._terminated = False
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def event(self, type: str, **fields: Any) -> None:
        """Append one event; waits where the disk is full."""
        self._writer.write(type, **fields)

    def status(self, *, at_once: bool = False, **changes: Any) -> None:
        """Change the status; it is written at most once a second, or now."""
        with self._guard:
            self._status = replace(self._status, **changes)
            now = time.monotonic()
            if not at_once and now - self._written < _STATUS_EVERY_S:
                return
            self._written = now
            with contextlib.suppress(OSError):  # a full disk: the events wait for room, the status is a convenience
                self.run.write_status(self._status)

    def phase(self, phase: str, detail: str = "", *, state: State | None = None) -> None:
        """Say what the run is doing now."""
        self.event("phase", phase=phase, detail=detail)
        self.status(at_once=True, phase=phase, note=detail, state=state or self._status.state)

    @property
    def current_phase(self) -> str:
        return self._status.phase

    def end(self, state: State, verdict: Verdict) -> None:
        """The last word of this attempt."""
        said = verdicts.as_dict(verdict)
        self.event("run.end", state=state, step=self._status.step, attempt=self.attempt, verdict=said)
        self.status(at_once=True, state=state, phase="", note="", eta_s=None, verdict=said, ended_at=time.time())

    def requests(self) -> list[Letter]:
        """The requests that wait, each acknowledged with an event and taken out of the mailbox."""
        letters = pending(self.run)
        for letter in letters:
            self.event("control.ack", request=letter.request, by=letter.by, id=letter.id)
            letter.path.unlink(missing_ok=True)
        if self._terminated:
            self._terminated = False
            self.event("control.ack", request="stop", by="SIGTERM", id="")
            letters.append(Letter("", "stop", "SIGTERM", self.run.control))
        return letters

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True

    def _beat(self) -> None:
        while True:
            time.sleep(_HEARTBEAT_S)
            self.event("heartbeat", step=self._status.step, phase=self._status.phase)
