"""A signal reaches the very process that was meant, its whole group when that is asked, and nobody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.waiting import wait_until
from trainer.runs.identity import Identity, identify, is_alive, send, send_group

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
# A leader with a child in its group; the child's pid is printed.
FAMILY = "import subprocess, sys; c = subprocess.Popen(sys.argv[1:]); print(c.pid, flush=True); c.wait()"


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", FAMILY, *SLEEP]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def child_of(leader: subprocess.Popen[str]) -> Identity:
    assert leader.stdout
    return identify(int(leader.stdout.readline()))


def test_an_identity_survives_its_file(leader: subprocess.Popen[str]) -> None:
    meant = identify(leader.pid)
    assert Identity.from_dict(meant.as_dict()) == meant
    assert meant.pgid == leader.pid


def test_the_right_process_gets_the_signal(leader: subprocess.Popen[str]) -> None:
    child = child_of(leader)
    assert send(child, signal.SIGTERM)
    wait_until(lambda: not is_alive(child), 10)
    assert not send(child, signal.SIGTERM)


def test_the_group_dies_with_its_leader(leader: subprocess.Popen[str]) -> None:
    child = child_of(leader)
    assert send_group(identify(leader.pid), signal.SIGKILL)
    assert leader.wait(10) == -signal.SIGKILL
    wait_until(lambda: not is_alive(child), 10)


def test_no_group_is_hit_for_one_that_does_not_lead_it_or_is_another(leader: subprocess.Popen[str]) -> None:
    child = child_of(leader)
    meant = identify(leader.pid)
    for other in (child, replace(meant, start_ticks=meant.start_ticks + 1), replace(meant, boot_id="another")):
        assert not send_group(other, signal.SIGKILL)
    assert leader.poll() is None and is_alive(child)


def test_a_process_that_ended_and_is_not_reaped_is_not_alive() -> None:
    process = subprocess.Popen(SLEEP)
    meant = identify(process.pid)
    process.kill()
    stat = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", 10)
    assert not is_alive(meant)
    assert not send(meant, signal.SIGTERM)
    process.wait()
    with pytest.raises(ProcessLookupError):
        identify(process.pid)
