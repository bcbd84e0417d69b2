"""The parent's side of the rewards' process: start it, ask it within a time, kill it with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

from trainer.text import clean

_START_S = 120.0  # a cold disk and a busy box; nothing of the user's runs before


class HostTimeout(Exception):
    """No answer within the time, and the process was killed for it."""


class HostDied(Exception):
    """The process ended instead of answering: the message says how."""


class HostProcess:
    """One process of `trainer.rewards.host`, of the thread that makes it: it dies when that thread ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trainer.rewards.host", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._inbox, self._outbox = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._rest = b""
        self.loaded: set[str] = set()
        os.set_blocking(self._inbox, False)
        os.set_blocking(self._outbox, False)
        threading.Thread(target=_pass_on, args=(self._process.stderr,), daemon=True).start()
        self.ask({}, _START_S)

    @property
    def alive(self) -> bool:
        if self._process.returncode is not None:
            return False
        # Not poll(): that reaps it, and a group may be signalled only while its leader's pid cannot be another's.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one request. Raises HostTimeout, HostDied; the process is dead then."""
        end = time.monotonic() + seconds
        try:
            self._write(json.dumps(request, default=str).encode() + b"\n", end)
            answer: dict[str, Any] = json.loads(self._read_line(end))
        except BaseException as error:  # an interrupt too: an answer that comes later would be taken for the next one's
            self.kill()
            if isinstance(error, TimeoutError):
                raise HostTimeout(f"no answer within {seconds:g} s") from None
            if isinstance(error, BrokenPipeError | EOFError | json.JSONDecodeError):
                raise HostDied(self._ending()) from None
            raise
        return answer

    def kill(self) -> None:
        """Kill the process and its group. Returns when it is gone."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _write(self, data: bytes, end: float) -> None:
        left = memoryview(data)
        while left:
            self._wait_for(self._inbox, select.POLLOUT, end)
            left = left[os.write(self._inbox, left) :]

    def _read_line(self, end: float) -> bytes:
        while b"\n" not in self._rest:
            self._wait_for(self._outbox, select.POLLIN, end)
            piece = os.read(self._outbox, 1 << 16)
            if not piece:
                raise EOFError
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _wait_for(self, pipe: int, event: int, end: float) -> None:
        waiting = select.poll()  # not select(): a trainer may have more than 1024 files open
        waiting.register(pipe, event)
        if not waiting.poll(max(end - time.monotonic(), 0) * 1000):
            raise TimeoutError

    def _ending(self) -> str:
        """How it ended: to kill what is ending already does not change that."""
        code = self._process.wait()
        if code >= 0:
            return f"the rewards' process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        return f"the rewards' process was ended by signal {name}{hint}"


def _pass_on(output: IO[bytes]) -> None:
    """What the rewards print, made safe for a terminal, to this process's stderr."""
    with output:
        for line in iter(lambda: output.readline(1 << 16), b""):
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(clean(line.decode(errors="replace")))
