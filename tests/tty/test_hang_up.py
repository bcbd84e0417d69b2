"""A real pseudo-terminal: the screen is painted, and a hang-up ends it, also where SIGHUP was set to be ignored."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tty.terminal import Terminal

FAKE = ("--devices", "fake:h200x2")


@pytest.mark.parametrize("ignore_hup", [False, True])
@pytest.mark.parametrize("controlling", [True, False])
def test_a_hang_up_ends_the_screen(home: Path, ignore_hup: bool, controlling: bool) -> None:
    terminal = Terminal(home, *FAKE, ignore_hup=ignore_hup, controlling=controlling)
    terminal.until(b"H200")
    assert terminal.hang_up() == 129


def test_a_terminal_that_does_not_control_the_process_is_no_lost_one(home: Path) -> None:
    terminal = Terminal(home, *FAKE, controlling=False)  # as under setsid and in some containers
    terminal.until(b"H200")
    time.sleep(3)
    assert terminal.process.poll() is None
    os.write(terminal.master, b"q")
    assert terminal.process.wait(20) == 0
    os.close(terminal.master)


def test_sigterm_restores_the_terminal(home: Path) -> None:
    terminal = Terminal(home, *FAKE)
    terminal.until(b"H200")
    terminal.process.terminate()
    terminal.until(b"\x1b[?1049l")  # back from the alternate screen
    assert terminal.process.wait(20) == 143
    os.close(terminal.master)


def test_q_leaves(home: Path) -> None:
    terminal = Terminal(home, *FAKE)
    terminal.until(b"H200")
    os.write(terminal.master, b"q")
    terminal.until(b"\x1b[?1049l")
    assert terminal.process.wait(20) == 0
    os.close(terminal.master)


def test_no_terminal_and_a_dumb_one_are_refused(home: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tui.main"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "needs a terminal" in done.stderr and "Traceback" not in done.stderr
