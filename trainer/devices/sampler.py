"""A thread that reads the box at a steady pace, so that no screen ever waits for a driver."""

from __future__ import annotations

import threading
from dataclasses import replace

from trainer.devices.backend import Backend
from trainer.devices.model import Snapshot
from trainer.text import one_line

_STOP_WAIT_S = 2.0


class Sampler:
    """Keeps the last snapshot of `backend`, taken every `interval_s` seconds on one daemon thread.

    NVML calls of several threads wait for each other, so one sampler serves all. The backend belongs to who opened it
    and is not closed here.
    """

    def __init__(self, backend: Backend, interval_s: float = 1.0) -> None:
        self._backend = backend
        self._interval_s = interval_s
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._good: Snapshot | None = None
        self.latest: Snapshot | None = None
        """The last snapshot; None until the first one. Where reading fails it stays, with one warning that says so."""
        self.error = ""
        """Why the last reading failed; empty where it did not."""

    def start(self) -> None:
        """Begins to sample, at once. Does nothing where it samples already."""
        if self._thread is not None and self._thread.is_alive() and not self._stop.is_set():
            return
        # An event of its own for each thread: one that hangs in a driver must not be woken up to go on.
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="burnish-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends sampling and waits up to two seconds for a reading in progress. It can be started again."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOP_WAIT_S)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._sample()
            stop.wait(self._interval_s)

    def _sample(self) -> None:
        try:
            self._good = self.latest = self._backend.snapshot()
            self.error = ""
        except Exception as error:
            # Whatever it was, a screen with old numbers and a warning is of more use than one that stands still.
            self.error = f"The GPUs could not be read: {one_line(str(error) or type(error).__name__, 200)}"
            if self._good is not None:
                self.latest = replace(self._good, warnings=(*self._good.warnings, self.error))
