"""The log under hard conditions: two writers, a line longer than any tail, text that is no text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trainer.runs.events import EventWriter, read_events
from trainer.runs.folder import RunFolder

WRITE = """
import sys
from pathlib import Path
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder
writer = EventWriter(RunFolder(Path(sys.argv[1])))
for number in range(1500):
    writer.write("note", who=sys.argv[2], number=number, text=sys.argv[2] * (1 + number % 700))
"""


def make(home: Path) -> RunFolder:
    return RunFolder.create(home, name="a", method="sft", recipe={}, origins={}, command=["test"])


def test_lines_of_two_writers_stay_whole(tmp_path: Path) -> None:
    run = make(tmp_path)
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(run.path), who]) for who in "xy"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    events = list(read_events(run.events))
    assert len(events) == len(run.events.read_bytes().splitlines()) == 3000
    for who in "xy":
        said = [event for event in events if event["who"] == who]
        assert [event["number"] for event in said] == list(range(1500))
        assert all(event["text"] == who * (1 + event["number"] % 700) for event in said)


def test_the_count_goes_on_after_a_very_long_line(tmp_path: Path) -> None:
    run = make(tmp_path)
    writer = EventWriter(run)
    for prompt in ("short", "long " * 40_000):  # a sample of a model with a long context
        writer.write("sample", prompt=prompt)
    writer.close()
    EventWriter(run).write("run.end", state="killed")
    assert [event["seq"] for event in read_events(run.events)] == [1, 2, 3]


def test_lines_that_are_no_events_are_left_out(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.events.write_bytes(b'[1]\n{"v":1}\n\n{"type":"phase","phase":"one"}\n\xff\xfe\n{"type":"pha')
    assert [event["phase"] for event in read_events(run.events)] == ["one"]
    assert list(read_events(tmp_path / "missing")) == []


def test_whatever_a_model_says_comes_back_as_it_was(tmp_path: Path) -> None:
    run = make(tmp_path)
    said = "line\nend\r\x1b[2J\u2028 \ud800 \U0001f525"
    EventWriter(run).write("sample", completion=said, where=Path("/a"))
    (event,) = read_events(run.events)
    assert event["completion"] == said
    assert event["where"] == "/a"
