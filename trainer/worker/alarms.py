"""The verdicts on a run while it trains: which alarm became bad, and which of them the recipe lets end the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recipes.schema import Health
from trainer.runs.health import Finding, findings
from trainer.runs.model import Series

_FIRST, _LAST = 20, 256  # readings of a metric that are kept: how it began, and the present


class Alarms:
    """Takes every reading in, in bounded memory; `stop` is the finding that ends the run, once there is one."""

    def __init__(self, method: str, health: Health, checks: Sequence[str]) -> None:
        self._method, self._health, self._checks = method, health, checks
        self._readings: dict[str, list[tuple[int, float]]] = {}
        self._in_a_row: dict[str, tuple[int, int]] = {}  # alarm: how often it was bad, and the reading of the last time
        self.stop: Finding | None = None

    def remember(self, series: Mapping[str, Series]) -> None:
        """Take in what was read before the run was resumed."""
        for name, before in series.items():
            self._keep(name, list(zip(before.steps, before.last, strict=True)))

    def read(self, step: int, logs: Mapping[str, Any]) -> list[Finding]:
        """Take in the numbers of one step or evaluation; returns the findings that became bad with them."""
        for name, value in logs.items():
            if isinstance(value, int | float):
                self._keep(name, [(step, float(value))])
        bad = {
            found.alarm: found for found in findings(self._method, self._readings, self._checks) if found.level == "bad"
        }
        fresh = [found for alarm, found in bad.items() if alarm not in self._in_a_row]
        before, self._in_a_row = self._in_a_row, {}
        for alarm, found in bad.items():
            times, at = before.get(alarm, (0, -1))
            # One evaluation is one reading, however many steps follow it.
            self._in_a_row[alarm] = (times + (found.step > at), found.step)
            if alarm in self._health.stop_on and self._in_a_row[alarm][0] >= self._health.patience:
                self.stop = self.stop or found
        return fresh

    def _keep(self, name: str, points: list[tuple[int, float]]) -> None:
        kept = self._readings.setdefault(name, [])
        kept += points
        if len(kept) > _FIRST + 2 * _LAST:
            del kept[_FIRST:-_LAST]
