"""A real pseudo-terminal with `burnish` on it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path


class Terminal:
    """`burnish` with these words under a pseudo-terminal of 80x24."""

    def __init__(self, home: Path, *words: str, ignore_hup: bool = False, controlling: bool = True) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def become() -> None:
            os.setsid()
            if controlling:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui.main", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=become,
            env={**os.environ, "TERM": "xterm-256color", "BURNISH_HOME": str(home)},
        )
        os.close(slave)
        self.seen = b""

    def until(self, text: bytes, timeout_s: float = 30) -> None:
        end = time.monotonic() + timeout_s
        while text not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)

    def hang_up(self) -> int:
        """Close the line; the exit code of what ran on it."""
        os.close(self.master)
        return self.process.wait(20)
