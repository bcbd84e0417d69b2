"""A run as a monitor sees it: open at once however long the log is, then follow it. Several may read one run."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from trainer.runs.events import parse
from trainer.runs.folder import RunFolder
from trainer.runs.model import Event, RunView, Series
from trainer.runs.registry import summary

_AT_ONCE = 4 << 20  # a log up to this many bytes is read whole when it is opened
_TAIL = 1 << 18
_SLICE = 2 << 20  # bytes that one `refine` reads
_NOT_METRICS = {"v", "t", "seq", "type", "step", "total", "nonfinite", "eta_s", "epoch", "num_tokens", "attempt"}
_KEPT_SAMPLES, _KEPT_ALERTS, _KEPT_MEMORY = 400, 200, 400
_FACTS = ("step", "run.start", "model", "data", "checkpoint", "phase", "run.end")


class RunReader:
    """Reads one run. `open` once, then `poll` (new events) and `refine` (older ones, in slices) as often as wanted."""

    def __init__(self, run: RunFolder, points: int = 400) -> None:
        self.run = run
        self._points = points
        self._shown = _Collected(points)
        self._exact: _Collected | None = None  # what `refine` builds behind, until it has caught up
        self._read_to = 0
        self._refined_to = 0

    def open(self) -> RunView:
        """The run as it stands. A long log is sampled first: its tail is exact, `complete` is False."""
        size = _size(self.run.events)
        if size <= _AT_ONCE:
            return self.poll()
        with self.run.events.open("rb") as log, mmap.mmap(log.fileno(), size, prot=mmap.PROT_READ) as lines:
            start = lines.find(b"\n", size - _TAIL) + 1
            for event in self._sampled(lines, start):
                self._shown.add(event)
            self._read_to = lines.rfind(b"\n") + 1
            for line in lines[start : self._read_to].split(b"\n"):
                self._shown.add_line(line)
        self._exact = _Collected(self._points)
        return self._view()

    def poll(self) -> RunView:
        """The run with what was appended since the last look."""
        self._read_to = self._read(self._shown, self._read_to, _size(self.run.events))
        return self._view()

    def refine(self) -> bool:
        """Read one more slice of what `open` only sampled; False once nothing is left to read."""
        if self._exact is None:
            return False
        end = min(self._refined_to + _SLICE, self._read_to)
        self._refined_to = self._read(self._exact, self._refined_to, end)
        if self._refined_to >= self._read_to:
            self._shown, self._exact = self._exact, None
            return False
        return True

    def tail_log(self, lines: int) -> list[str]:
        """The last lines of console.log as they were printed; the caller cleans them for a terminal."""
        try:
            with self.run.console.open("rb") as log:
                log.seek(max(log.seek(0, os.SEEK_END) - 400 * lines, 0))
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return [line.rsplit("\r", 1)[-1] for line in text.split("\n") if line][-lines:]

    def _sampled(self, lines: mmap.mmap, end: int) -> list[Event]:
        """The first events, and evenly spaced ones after them, as many as points are shown."""
        events = [event for line in lines[: 1 << 15].split(b"\n")[:-1] if (event := parse(line))]
        for position in range(1, self._points):
            start = lines.find(b"\n", end * position // self._points) + 1
            event = parse(lines[start : lines.find(b"\n", start)])
            if event:
                events.append(event)
        return events

    def _read(self, into: _Collected, start: int, end: int) -> int:
        """Add the whole lines between two offsets; returns the offset after the last whole one."""
        if end <= start:
            return start
        with self.run.events.open("rb") as log:
            log.seek(start)
            text = log.read(end - start)
        whole = text.rfind(b"\n") + 1
        for line in text[:whole].split(b"\n"):
            into.add_line(line)
        return start + whole

    def _view(self) -> RunView:
        shown = self._shown
        return RunView(
            summary=summary(self.run),
            series={name: metric.series(name) for name, metric in shown.metrics.items()},
            memory=tuple(shown.memory),
            samples=tuple(shown.samples),
            alerts=tuple(shown.alerts),
            facts=dict(shown.facts),
            events_seen=shown.seen,
            events_torn=shown.torn,
            complete=self._exact is None,
        )


class _Collected:
    """Events folded into what a monitor shows, in bounded memory."""

    def __init__(self, points: int) -> None:
        self._points = points
        self.metrics: dict[str, _Metric] = {}
        self.memory: list[Event] = []
        self.samples: list[Event] = []
        self.alerts: list[Event] = []
        self.facts: dict[str, Event] = {}
        self.seen = 0
        self.torn = 0

    def add_line(self, line: bytes) -> None:
        if not line:
            return
        event = parse(line)
        if event is None:
            self.torn += 1
        else:
            self.add(event)

    def add(self, event: Event) -> None:
        self.seen += 1
        kind = event["type"]
        if kind in ("step", "eval"):
            for name, value in event.items():
                if name not in _NOT_METRICS and isinstance(value, int | float):
                    self.metrics.setdefault(name, _Metric(self._points)).add(int(event["step"]), float(value))
        elif kind == "memory":
            self.memory.append(event)
            if len(self.memory) > 2 * _KEPT_MEMORY:
                self.memory = self.memory[::2]
        elif kind == "sample":
            self.samples = [*self.samples[-_KEPT_SAMPLES:], event]
        elif kind in ("warning", "alert"):
            self.alerts = [*self.alerts[-_KEPT_ALERTS:], event]
        if kind in _FACTS:
            self.facts[kind] = event
        if kind == "run.start" and event.get("resumed_from") is not None:
            for metric in self.metrics.values():  # steps after the checkpoint are trained anew
                metric.cut(int(event["resumed_from"]))


class _Metric:
    """One metric in at most `2 * points` buckets of equal width in steps; the width doubles when they are too many."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._width = 1
        self._buckets: list[list[float]] = []  # [step, low, high, last], steps ascending

    def add(self, step: int, value: float) -> None:
        if self._buckets and step < self._buckets[-1][0]:  # resumed from a checkpoint before
            self.cut(step - 1)
        if self._buckets and step // self._width <= int(self._buckets[-1][0]) // self._width:
            self._fold(self._buckets[-1], [step, value, value, value])
            return
        self._buckets.append([step, value, value, value])
        if len(self._buckets) > 2 * self._points:
            self._width *= 2
            folded: list[list[float]] = []
            for bucket in self._buckets:
                if folded and bucket[0] // self._width == folded[-1][0] // self._width:
                    self._fold(folded[-1], bucket)
                else:
                    folded.append(bucket)
            self._buckets = folded

    @staticmethod
    def _fold(into: list[float], other: list[float]) -> None:
        into[:] = [other[0], min(into[1], other[1]), max(into[2], other[2]), other[3]]

    def cut(self, step: int) -> None:
        self._buckets = [bucket for bucket in self._buckets if bucket[0] <= step]

    def series(self, name: str) -> Series:
        steps, low, high, last = zip(*self._buckets, strict=True) if self._buckets else ((), (), (), ())
        return Series(name, tuple(int(step) for step in steps), tuple(low), tuple(high), tuple(last))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
