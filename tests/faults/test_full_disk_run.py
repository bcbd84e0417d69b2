"""A run on a full disk: it waits for room and goes on; not a step is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.runs import SHORT

RUN = """
import atexit, contextlib, sys, time
from pathlib import Path
from recipes.loading import load
from trainer.errors import RunError
from trainer.planning.start import start
from trainer.runs import control
from trainer.runs.events import read_events
from trainer.runs.registry import summary

home, steps = Path(sys.argv[1]), 60
run = start(load("sft-qlora", [*sys.argv[2:], f"training.max_steps={steps}"]), home=home, command=["test"])


@atexit.register
def leave_nothing():
    (home / "ballast").unlink(missing_ok=True)
    with contextlib.suppress(RunError):
        control.kill_now(run)


def done():
    return [event["step"] for event in read_events(run.events) if event["type"] == "step"]


def wait_until(true):
    end = time.monotonic() + 90
    while not true():
        if time.monotonic() > end:
            sys.exit(f"waited for nothing: {summary(run)}")
        time.sleep(0.05)


wait_until(lambda: len(done()) >= 2 or not summary(run).live)
# Again and again, since others free some in between; the console too: a file has room left in its last page.
full = 0
with (home / "ballast").open("wb", buffering=0) as ballast, run.console.open("ab", buffering=0) as console:
    while full < 20:
        try:
            ballast.write(b"x" * 4096)
        except OSError:
            full += 1
            with contextlib.suppress(OSError):
                console.write(b"\\n" * 4096)
            time.sleep(0.1)
reached, now = len(done()), summary(run)
assert reached < steps, "it was too fast for the disk to be full"
assert now.live and "disk is full" in now.note, now
(home / "ballast").unlink()
wait_until(lambda: not summary(run).live)
ended = summary(run)
assert (ended.state, ended.step) == ("finished", steps), ended.verdict
assert done() == list(range(1, steps + 1))
print("nothing lost after", reached)
"""


def test_a_run_waits_for_room(tmp_path: Path, tiny_model: Path) -> None:
    rows = [f"model.base={tiny_model}", f"data.train={tiny_model}/train.jsonl", "data.eval_fraction=0"]
    inside = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside, str(tmp_path), sys.executable, "-c", RUN, str(tmp_path), *rows, *SHORT],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no user namespace with a mount here: {done.stderr.strip()}")
    assert done.stdout.startswith("nothing lost"), done.stderr
