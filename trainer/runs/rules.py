"""Verdicts that no single range gives: they compare a run with its own past or one metric with another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from trainer.runs.ranges import (
    GUIDE,
    OWN_RULE,
    ROLLOUT,
    WINDOW,
    Finding,
    Level,
    Points,
    Readings,
    last,
    number,
    percent,
)
from trainer.text import one_line

_SETTLED = 20  # steps after which the guide wants a reward, and before which an accuracy is that of the untrained model
_SPIKE_WINDOW, _SPIKE_LEAST = 32, 12
_SPIKE_DEVIATIONS = 6.0
_SPIKE_NATS = 0.5  # a loss near zero doubles with every hard row
_FOLLOWS, _APART = 1.01, 1.10  # of the best held-out loss: what is noise, what is overfitting
_COLLAPSED = 1.5  # of the log-probability that the chosen answers had at first
_FASTER = 2.0  # times the fall of the rejected ones
_LOW_REWARD = 0.15
_ACCURACY = {"dpo": "rewards/accuracies", "reward": "accuracy"}
_SWAPPED = "look for swapped pairs, then lower training.learning_rate"


def nonfinite(readings: Readings) -> Finding | None:
    """The newest loss is NaN or infinite."""
    points = readings.get("loss", ())
    if not points or math.isfinite(points[-1][1]):
        return None
    step, value = points[-1]
    remedy = "resume from the last checkpoint with a lower training.learning_rate; look at the rows around it"
    return Finding(
        "nonfinite", "bad", f"the loss at step {step} is no number", "a number", OWN_RULE, remedy, value, step
    )


def loss_spike(method: str, readings: Readings) -> Finding | None:
    """The newest loss stands out of those before it. A policy's loss is no measure of progress and is left alone."""
    points = readings.get("loss", ())
    if method in ROLLOUT or len(points) <= _SPIKE_LEAST or not math.isfinite(points[-1][1]):
        return None
    step, value = points[-1]
    before = last(points[:-1][-_SPIKE_WINDOW:], _SPIKE_WINDOW)
    if len(before) < _SPIKE_LEAST:
        return None
    middle = median(before)
    deviation = 1.4826 * median(abs(v - middle) for v in before)  # of a normal distribution, from the median deviation
    spikes = value > max(2 * middle, middle + _SPIKE_DEVIATIONS * deviation, middle + _SPIKE_NATS)
    text = f"loss {number(value, 3)}, no spike"
    if spikes:
        text = f"loss spike: {number(value, 3)} after a median of {number(middle, 3)}"
    remedy = "look at the rows of that step; if it comes again, lower training.learning_rate 2 to 5 times" * spikes
    return Finding("loss-spike", "bad" if spikes else "good", text, "< twice the median", GUIDE, remedy, value, step)


def overfitting(method: str, readings: Readings) -> Finding | None:
    """The held-out loss leaves its best while the training loss falls on."""
    points = [point for point in readings.get("eval_loss", ()) if math.isfinite(point[1])]
    if method in ROLLOUT or len(points) < 2:
        return None
    best_step, best = min(points, key=lambda point: point[1])
    step, value = points[-1]
    if best <= 0:  # some preference losses pass through zero: there is no share of it to be above
        return None
    level: Level = "good"
    text, remedy = f"held-out loss {number(value, 3)}, near its best", ""
    if value > best * _FOLLOWS:
        level = "watch"
        text = f"held-out loss is {percent(value / best - 1)} above its best: it starts to learn by heart"
        remedy = (
            f"the checkpoint nearest to step {best_step} is the better one; fewer epochs, more rows, a smaller rank"
        )
    if value > best * _APART and _train_loss_fell(readings.get("loss", ()), best_step):
        level = "bad"
        text = f"it learns by heart: held-out loss is {percent(value / best - 1)} above its best, training loss falls"
    return Finding(
        "overfitting", level, text, f"up to {percent(_APART - 1)} above its best", OWN_RULE, remedy, value, step
    )


def _train_loss_fell(points: Points, since: int) -> bool:
    before = [point for point in points if point[0] <= since] or points[:WINDOW]
    then, now = last(before, WINDOW), last(points, WINDOW)
    return bool(then and now) and fmean(now) < fmean(then)


def preference(method: str, readings: Readings) -> Finding | None:
    """Whether the right answer is preferred: held out where there are held-out rows. KTO has only a margin to tell."""
    if method == "kto":
        return _margin(readings)
    if method not in _ACCURACY:
        return None
    found = _newest(_ACCURACY[method], readings)
    if found is None:
        return None
    name, value, step = found
    wrong = value < 0.5
    text = f"{name}accuracy {percent(value)}"
    if wrong:
        text = f"it prefers the wrong answers: {text}"
    source = "chance"
    if method == "reward":
        source = "chance; InstructGPT's reward model: 72.4 %, 69.6 % for labelers held out"
    level: Level = "bad" if wrong else "good"
    return Finding("preference-accuracy", level, text, ">= 50 %", source, _SWAPPED * wrong, value, step)


def _margin(readings: Readings) -> Finding | None:
    found = _newest("rewards/margins", readings)
    if found is None:
        return None
    name, value, step = found
    wrong = value < 0
    text = f"{name}margin {number(value)}; KTO has no accuracy"
    if wrong:
        text = f"it prefers the wrong answers: {text}"
    level: Level = "bad" if wrong else "good"
    remedy = "check which labels mean good, then lower training.learning_rate" * wrong
    return Finding("preference-accuracy", level, text, ">= 0", "chance", remedy, value, step)


def _newest(metric: str, readings: Readings) -> tuple[str, float, int] | None:
    """("held-out " or "", value, step): the newest evaluation, else the mean of the last training readings."""
    held_out = readings.get(f"eval_{metric}", ())
    if held_out and held_out[-1][0] >= _SETTLED and math.isfinite(held_out[-1][1]):
        return "held-out ", held_out[-1][1], held_out[-1][0]
    points = readings.get(metric, ())
    values = last(points, _SETTLED)
    if len(values) < _SETTLED:
        return None
    return "", fmean(values), points[-1][0]


def chosen_collapse(method: str, readings: Readings) -> Finding | None:
    """Chosen answers become less likely, far faster than rejected ones. That they do at all is common and no fault."""
    points = readings.get("logps/chosen", ())
    rewards = [last(readings.get(f"rewards/{side}", ()), WINDOW) for side in ("chosen", "rejected")]
    rejected = readings.get("logps/rejected", ())
    if method not in ("dpo", "kto") or len(points) < 2 * WINDOW or not all([*rewards, rejected]):
        return None
    # A reward is beta times how far its log-probability moved from the reference's: their ratio needs no beta.
    chosen_fall, rejected_fall = (-fmean(values) for values in rewards)
    then, now = fmean(last(points[:WINDOW], WINDOW) or [0.0]), fmean(last(points, WINDOW) or [0.0])
    rejected_then, rejected_now = (fmean(last(part, WINDOW) or [0.0]) for part in (rejected[:WINDOW], rejected))
    moved = f"{number(then, 3)} to {number(now, 3)}, rejected {number(rejected_then, 3)} to {number(rejected_now, 3)}"
    faster = chosen_fall > 0 and chosen_fall >= _FASTER * max(rejected_fall, 0.0)
    level: Level = "good"
    text, remedy = f"chosen log-probs {moved}", ""
    if faster and then < 0 and now <= _COLLAPSED * then:
        level, text = "bad", f"chosen answers collapse: log-probs {moved}"
        remedy = f"lower training.learning_rate, raise {method}.beta"
        remedy += ", or add the sft loss: dpo.loss_type=[sigmoid, sft]" * (method == "dpo")
    elif chosen_fall > 0:
        text = f"chosen log-probs fall, which is common: {moved}"
    where = "fall of chosen < half its size or < 2 x that of rejected"
    return Finding("chosen-collapse", level, text, where, f"{OWN_RULE} on trl#1236", remedy, now, points[-1][0])


def low_reward(method: str, readings: Readings, checks: Sequence[str]) -> Finding | None:
    """After 20 steps something is rewarded. Scores beyond 0 to 1, such as a reward model's, have no range."""
    total = readings.get("reward", ())
    if method not in ROLLOUT or not total or total[-1][0] < _SETTLED:
        return None
    taught = [
        name for name in readings
        if name.startswith("rewards/") and name.endswith("/mean") and name[8:-5] not in checks
    ]  # fmt: skip
    values = {name: last(readings[name], _SETTLED) for name in taught or ["reward"]}
    values = {name: found for name, found in values.items() if found}
    if not values or any(abs(value) > 1 for found in values.values() for value in found):
        return None
    name = max(values, key=lambda name: fmean(values[name]))
    value = fmean(values[name])
    said = one_line(name.removeprefix("rewards/").removesuffix("/mean"), 20)
    level: Level = "good" if value > _LOW_REWARD else "watch"
    text = f"reward {said} {number(value)}" if said != "reward" else f"reward {number(value)}"
    if all(abs(value) < 1e-6 for found in values.values() for value in found):
        level, text = "bad", f"no reward at all: {len(values[name])} readings of 0"
    elif level == "watch":
        text = f"little is rewarded: {text}"
    remedy = "try the reward on known answers (`burnish reward test`), then easier prompts or a finer reward"
    return Finding(
        "low-reward", level, text, "> 0.15 within 20 steps", GUIDE, remedy if level != "good" else "", value, total[-1][0]
    )  # fmt: skip
