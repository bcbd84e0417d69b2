"""What every bench file shares: where results go, what machine they come from, a pseudo-terminal to watch through."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Result:
    """One answered question: `value` against `bar` (at most), as shown in the README's table."""

    question: str
    value: float
    bar: float
    unit: str  # "x" for a ratio
    ours: str
    baseline: str
    command: str
    details: dict[str, Any] = field(default_factory=dict)


def machine() -> dict[str, Any]:
    """The box in the words that a reader of the numbers needs: no host name, no path."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    ram_kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "ram_gib": round(ram_kib / 1024**2, 1),
        "gpu": None,
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def save(name: str, results: Sequence[Result]) -> None:
    """Write the results of one bench file, with date and machine, and say them."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    body = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "results": [asdict(result) for result in results],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(body, indent=1) + "\n")
    for result in results:
        met = "met" if result.value <= result.bar else "NOT MET"
        print(f"{result.question}: {result.value:.3g} {result.unit} (bar {result.bar:g}, {met})")
        print(f"    ours {result.ours}; beside it {result.baseline}")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """`values` in seconds as "median (min to max)"."""
    return f"{median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"


class Terminal:
    """A program under a real pseudo-terminal: what it paints is read at once, counted and kept."""

    def __init__(self, argv: Sequence[str], *, columns: int, rows: int, env: dict[str, str] | None = None) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            list(argv),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})},
        )
        os.close(slave)
        self.seen = b""

    def read(self, timeout_s: float) -> bytes:
        """What was painted within `timeout_s`, at the latest when something is there."""
        if not select.select([self.master], [], [], timeout_s)[0]:
            return b""
        try:
            chunk = os.read(self.master, 1 << 16)
        except OSError:
            return b""
        self.seen += chunk
        return chunk

    def until(self, mark: bytes, timeout_s: float) -> float:
        """Seconds from the start of the program to the moment `mark` was painted."""
        while mark not in self.seen:
            if time.perf_counter() - self.started > timeout_s or self.process.poll() is not None:
                raise TimeoutError(f"{mark!r} was not painted; last: {self.seen[-400:]!r}")
            self.read(0.05)
        return time.perf_counter() - self.started

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def count_bytes(self, seconds: float) -> int:
        """Bytes painted in the next `seconds`."""
        end = time.perf_counter() + seconds
        count = 0
        while (left := end - time.perf_counter()) > 0:
            count += len(self.read(left))
        return count

    def close(self) -> None:
        """End the program and everything in its session."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        os.close(self.master)


def in_turns(times: int, ours: Callable[[], float], baseline: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Both measured alternately `times` times, so that a noisy machine is noisy for both. The first pair warms up."""
    ours(), baseline()
    pairs = [(ours(), baseline()) for _ in range(times)]
    return [a for a, _ in pairs], [b for _, b in pairs]


PYTHON = sys.executable
BURNISH = str(Path(sys.executable).with_name("burnish"))
