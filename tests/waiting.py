"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

from trainer.runs.folder import RunFolder
from trainer.runs.model import RunSummary
from trainer.runs.registry import summary


def wait_until(true: Callable[[], bool], timeout_s: float = 90.0) -> None:
    """Returns when `true()`; TimeoutError after `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def wait_for_step(run: RunFolder, step: int) -> None:
    """Returns when the run has done `step`; fails at once where it ended before."""

    def there() -> bool:
        now = summary(run)
        assert now.live or now.step >= step, now.verdict
        return now.step >= step

    wait_until(there)


def wait_for_end(run: RunFolder) -> RunSummary:
    """The run after it ended."""
    wait_until(lambda: not summary(run).live)
    return summary(run)
