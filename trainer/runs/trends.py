"""Whether a metric moves beyond its noise, and whether two that should move together part. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from trainer.runs.ranges import OWN_RULE, ROLLOUT, WINDOW, Finding, Level, Points, Readings, last, number, percent
from trainer.text import one_line

_BLOCKS, _BLOCK_LEAST = 8, 3
_MOVED = 0.1  # of its size: what is called a fall or a rise
_BEYOND = 3.0  # standard errors: the best of several blocks lies above the rest by chance alone


def trend(values: Sequence[float]) -> Literal["rises", "falls", "is level"]:
    """The way of a metric between the first and the last third of its readings, beyond its noise."""
    third = max(len(values) // 3, 1)
    first, final = values[:third], values[-third:]
    moved, noise = fmean(final) - fmean(first), 2 * math.hypot(_error(first), _error(final))
    return "is level" if abs(moved) <= noise else "rises" if moved > 0 else "falls"


def reward_hacking(method: str, readings: Readings, checks: Sequence[str]) -> Finding | None:
    """What is rewarded rises while what is only watched falls: the held-out reward, or a reward of weight 0."""
    if method not in ROLLOUT:
        return None
    reward = readings.get("reward", ())
    names = {"reward": "reward", **{f"rewards/{check}/mean": one_line(check, 20) for check in checks}}
    found = []
    for name, said in names.items():
        points = _finite(readings.get(name, ()))
        held_out = _finite(readings.get(f"eval_{name}", ()))
        found.append(_apart(reward, _alone(held_out, points), f"held-out {said}"))
        if name != "reward":
            found.append(_apart(reward, _in_blocks(points), said))
    known = [finding for finding in found if finding]
    return max(known, key=lambda finding: ("good", "watch", "bad").index(finding.level), default=None)


@dataclass(frozen=True)
class _Block:
    """Readings as one: their last step, their mean and its standard error."""

    step: int
    mean: float
    error: float


def _apart(reward: Points, check: Sequence[_Block], said: str) -> Finding | None:
    """The verdict on one check against the reward that is learned from."""
    now = last(reward, WINDOW)
    if len(check) < 3 or len(now) < WINDOW:
        return None
    best, newest = max(check[:-1], key=lambda block: block.mean), check[-1]
    then = last([point for point in reward if point[0] <= best.step] or reward[:WINDOW], WINDOW)
    fall, rise = best.mean - newest.mean, fmean(now) - fmean(then)
    falls = fall > _BEYOND * math.hypot(best.error, newest.error)
    rises = rise > 2 * math.hypot(_error(now), _error(then)) and rise >= _MOVED * abs(fmean(then))
    level: Level = "good"
    text = f"the reward and {said} do not part: {number(fmean(now))} and {number(newest.mean)}"
    remedy = ""
    if rises and falls and fall > 0:
        level = "bad" if fall >= _MOVED * max(abs(best.mean), abs(newest.mean)) else "watch"
        text = f"the reward rises to {number(fmean(now))} while {said} falls from {number(best.mean)} to "
        text += number(newest.mean)
        remedy = "read the newest rollouts for what is rewarded but not wanted; "
        remedy += f"the best checkpoint is near step {best.step}"
    where = f"a fall of < {percent(_MOVED)} from its best"
    return Finding("reward-hacking", level, text, where, OWN_RULE, remedy, newest.mean, newest.step)


def _in_blocks(points: Points) -> list[_Block]:
    """Training readings in blocks of equal size; none where there are too few."""
    size = len(points) // _BLOCKS
    if size < _BLOCK_LEAST:
        return []
    parts = [points[at : at + size] for at in range(len(points) - size * _BLOCKS, len(points), size)]
    return [_Block(part[-1][0], fmean(v for _, v in part), _error([v for _, v in part])) for part in parts]


def _alone(points: Points, twin: Points) -> list[_Block]:
    """Held-out readings, each for itself. Each is taken to be as sure as four readings of its training twin."""
    error = math.sqrt(WINDOW / 4) * _error(last(twin, WINDOW))
    blocks = [_Block(step, value, error) for step, value in points]
    # Of the last two the better one counts: one bad evaluation is no trend.
    return [*blocks[:-1], _Block(blocks[-1].step, max(blocks[-2].mean, blocks[-1].mean), error)] if blocks[1:] else []


def _finite(points: Points) -> Points:
    return [point for point in points if math.isfinite(point[1])]


def _error(values: Sequence[float]) -> float:
    """The standard error of their mean."""
    count = len(values)
    if count < 2:
        return 0.0
    mean = fmean(values)  # statistics.stdev is exact in fractions, and fifty times slower
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
