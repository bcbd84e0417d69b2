"""What the tests of real runs look at."""

from __future__ import annotations

from typing import Any

from tests.waiting import wait_until
from trainer.runs.events import read_events
from trainer.runs.folder import RunFolder, read_json
from trainer.runs.model import Event
from trainer.runs.registry import summary

# Little to do beside the steps, on one core: what a box under load can still do in time.
SHORT = (
    "training.per_device_train_batch_size=4",
    "training.gradient_accumulation_steps=1",
    "training.max_length=128",
    "training.gradient_checkpointing=false",
    "data.max_eval_rows=8",
    "evaluation.eval_on_start=false",
    "evaluation.samples=0",
    "resources.cpu_threads=1",
    "resources.min_free_disk_gib=0",
)


def pid_of(run: RunFolder, who: str) -> int:
    """The pid of `supervisor` or `trainer`."""
    return int((read_json(run.proc) or {})[who]["pid"])


def events_of(run: RunFolder, *kinds: str) -> list[Event]:
    """The events of these types so far, every one where no type is given."""
    return [event for event in read_events(run.events) if not kinds or event["type"] in kinds]


def wait_for_event(run: RunFolder, kind: str, **fields: Any) -> None:
    """Returns when there is an event of that type with these fields; fails where the run ended without one."""

    def there() -> bool:
        live = summary(run).live
        found = any(fields.items() <= event.items() for event in events_of(run, kind))
        assert found or live, summary(run).verdict
        return found

    wait_until(there)
