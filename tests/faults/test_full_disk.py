"""A full disk: the event log waits for room and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILL = """
import os, sys, threading, time
from pathlib import Path
from trainer.runs.events import EventWriter, read_events
from trainer.runs.folder import RunFolder
home = Path(sys.argv[1])
run = RunFolder.create(home, name="full", method="sft", recipe={}, origins={}, command=["test"])
ballast = home / "ballast"
with ballast.open("wb", buffering=0) as out:
    try:
        while True:
            out.write(b"x" * 4096)
    except OSError:
        pass
waits = []
writer = EventWriter(run, waits.append)
def work():
    for step in range(3000):
        writer.write("step", step=step, loss=1.0, note="x" * 50)
thread = threading.Thread(target=work)
thread.start()
time.sleep(2.5)
assert thread.is_alive(), "the disk was not full"
ballast.unlink()
thread.join(30)
assert waits, "nobody was told"
assert [event["step"] for event in read_events(run.events)] == list(range(3000))
print("nothing lost")
"""


def test_events_wait_for_room(tmp_path: Path) -> None:
    inside = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -c "$FILL" {tmp_path}'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside], capture_output=True, text=True, env={**os.environ, "FILL": FILL}
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no user namespace with a mount here: {done.stderr.strip()}")
    assert done.stdout.strip() == "nothing lost", done.stderr
