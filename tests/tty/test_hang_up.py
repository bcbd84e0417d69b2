"""A real pseudo-terminal: the screen is painted, and a hang-up ends it, also where SIGHUP was set to be ignored."""

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

import pytest


class Terminal:
    """The workstation under a pseudo-terminal of 80x24."""

    def __init__(self, home: Path, *, ignore_hup: bool = False) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def become() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui.main", "--devices", "fake:h200x2"],
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


@pytest.mark.parametrize("ignore_hup", [False, True])
def test_a_hang_up_ends_the_screen(home: Path, ignore_hup: bool) -> None:
    terminal = Terminal(home, ignore_hup=ignore_hup)
    terminal.until(b"H200")
    os.close(terminal.master)
    assert terminal.process.wait(20) == 129


def test_sigterm_restores_the_terminal(home: Path) -> None:
    terminal = Terminal(home)
    terminal.until(b"H200")
    terminal.process.terminate()
    terminal.until(b"\x1b[?1049l")  # back from the alternate screen
    assert terminal.process.wait(20) == 143
    os.close(terminal.master)


def test_q_leaves(home: Path) -> None:
    terminal = Terminal(home)
    terminal.until(b"H200")
    os.write(terminal.master, b"q")
    terminal.until(b"\x1b[?1049l")
    assert terminal.process.wait(20) == 0
    os.close(terminal.master)


def test_no_terminal_and_a_dumb_one_are_refused(home: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tui.main"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "needs a terminal" in done.stderr and "Traceback" not in done.stderr
