"""What a run is to those who look at it, as values. Standard library only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["queued", "starting", "running", "stopping", "finished", "failed", "killed", "lost"]
LIVE_STATES: tuple[State, ...] = ("queued", "starting", "running", "stopping")


@dataclass(frozen=True)
class Verdict:
    """How a run ended, in plain words.

    `kind` is one of: completed, stopped, stopped-now, killed, oom-gpu, oom-host, disk-full, nonfinite, bad-data,
    bad-model, health, reward, hung, restarted, lost, error.
    """

    kind: str
    message: str
    hint: str = ""
    exit_code: int | None = None
    signal: str | None = None
    log: tuple[str, ...] = ()  # the last useful lines of console.log


@dataclass(frozen=True)
class RunSummary:
    """One run as lists show it, and as `--json` prints it."""

    id: str
    name: str
    method: str
    state: State
    phase: str
    step: int
    total_steps: int | None
    loss: float | None
    eta_s: float | None
    metrics: dict[str, float | None]
    created_at: float
    started_at: float | None
    ended_at: float | None
    last_event_at: float | None
    verdict: Verdict | None
    parent: str | None
    path: str
    supervised: bool = True  # False: the trainer lives on, its supervisor does not
    trainer_pid: int | None = None
    note: str = ""  # what a person should know now, such as "paused: the disk is full"

    @property
    def live(self) -> bool:
        """True while something may still happen in the run."""
        return self.state in LIVE_STATES

    def age(self, now: float | None = None) -> float | None:
        """Seconds since the run's last event."""
        return None if self.last_event_at is None else max((now or time.time()) - self.last_event_at, 0.0)


Event = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """One metric over steps, thinned to at most as many points as were asked for.

    `steps`, `low`, `high` and `last` have one entry a bucket: the bucket's last step, its extremes, its last value.
    """

    name: str
    steps: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    last: tuple[float, ...] = ()


@dataclass(frozen=True)
class RunView:
    """All that a monitor draws of one run at one moment."""

    summary: RunSummary
    series: dict[str, Series] = field(default_factory=dict)  # train metrics by TRL's names, then eval_* ones
    memory: tuple[Event, ...] = ()  # thinned `memory` events, oldest first
    samples: tuple[Event, ...] = ()  # the newest answer to each fixed prompt, then older ones on demand
    alerts: tuple[Event, ...] = ()  # warnings and alerts, oldest first
    facts: dict[str, Event] = field(default_factory=dict)  # newest `run.start`, `model` and `data` events by type
    events_seen: int = 0
    events_torn: int = 0
    complete: bool = True  # False while older events are still being read behind
