"""What a run's numbers say: every verdict of the moment, and the one sentence that a person reads first."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import fmean, median

from trainer.runs import rules, trends
from trainer.runs.model import RunView
from trainer.runs.ranges import RANGES, ROLLOUT, WINDOW, Finding, Points, Readings, last, number, percent
from trainer.text import one_line

__all__ = ["Finding", "Readings", "findings", "in_words", "of_view"]

_ENOUGH = 12  # readings before a trend is called one
_QUIET_S = 30.0
_QUIET_STEPS = 20
_IDLE_PERCENT = 5
_RECENT = 20  # readings for which an alert stays in the sentence
_ORDER = ("bad", "watch", "good")


def findings(method: str, readings: Readings, checks: Sequence[str] = ()) -> list[Finding]:
    """Every verdict that the readings allow, worst first. `checks` are the names of the rewards that teach nothing."""
    if method == "ppo":
        readings = {**readings, "kl": _kl_of_a_token(readings)}
    found = [
        rules.nonfinite(readings),
        rules.loss_spike(method, readings),
        rules.overfitting(method, readings),
        rules.preference(method, readings),
        rules.chosen_collapse(method, readings),
        trends.reward_hacking(method, readings, checks),
        rules.low_reward(method, readings, checks),
        *(range.judge(method, readings) for range in RANGES if method in range.methods),
    ]
    return sorted((finding for finding in found if finding), key=lambda finding: _ORDER.index(finding.level))


def of_view(
    view: RunView, checks: Sequence[str] = (), now: float | None = None, utilization: int | None = None
) -> list[Finding]:
    """The findings of a run as a monitor sees it; a live one may hang. `utilization` of its GPU in percent, if known."""
    found = findings(view.summary.method, _readings(view), checks)
    quiet = _stall(view, now or time.time(), utilization) if view.summary.live else None
    return [quiet, *found] if quiet else found


def in_words(view: RunView, now: float | None = None, found: Sequence[Finding] | None = None) -> str:
    """The verdict on a run as it stands: how it ended, or whether it learns, waits or hangs. `found`: of `of_view`."""
    summary = view.summary
    if summary.verdict:
        return one_line(f"{summary.state}: {summary.verdict.message}")
    if summary.note:
        return one_line(summary.note)
    if not summary.live:
        return summary.state
    found = of_view(view, now=now) if found is None else found
    if found and found[0].alarm == "stall":
        return found[0].text
    readings = _readings(view)
    if summary.phase != "training" or "loss" not in readings:
        return f"{summary.state}: {summary.phase}" if summary.phase else summary.state
    if found and found[0].level == "bad":
        return f"{found[0].why}: {found[0].remedy}"
    watched = [finding.text for finding in found if finding.level == "watch"][:1]
    return "; ".join([_progress(summary.method, readings), *watched, *_alerts(view, readings["loss"])])


def _kl_of_a_token(readings: Readings) -> Points:
    """PPO logs the divergence of a whole completion, the published range is that of a token."""
    lengths = dict(readings.get("completions/mean_length", ())[-WINDOW:])
    return [(step, kl / lengths[step]) for step, kl in readings.get("objective/kl", ()) if lengths.get(step)]


def _readings(view: RunView) -> Readings:
    """The series as points, with the numbers of the newest step that were none."""
    readings = {name: list(zip(series.steps, series.last, strict=True)) for name, series in view.series.items()}
    step = view.facts.get("step", {})
    for name in step.get("nonfinite", ()):
        readings.setdefault(name, []).append((int(step["step"]), math.nan))
    return readings


def _stall(view: RunView, now: float, utilization: int | None) -> Finding | None:
    """The run has been silent for many times its usual step."""
    step = view.facts.get("step") if view.summary.phase == "training" else None
    # A heart that beats is no step: in training it is the last step that counts.
    silent = max(now - float(step["t"]), 0.0) if step and "t" in step else view.summary.age(now)
    steps = view.series.get("step_time_s")
    usual = median(steps.last[-50:]) if steps else 0.0
    if silent is None or silent <= max(_QUIET_S, _QUIET_STEPS * usual):
        return None
    text = f"nothing new for {silent:.0f} s, a step usually takes {usual:.2g} s: it may hang"
    if utilization is not None:
        idle = utilization <= _IDLE_PERCENT
        text += f", its GPU {'idles' if idle else 'works'} at {utilization} %"
    usual_range = f"< {max(_QUIET_S, _QUIET_STEPS * usual):.0f} s without a step"
    remedy = "read the log; `burnish stop --now`, then `burnish resume`, starts it again from its checkpoint"
    return Finding("stall", "bad", text, usual_range, "own rule", remedy, silent, view.summary.step)


def _progress(method: str, readings: Readings) -> str:
    """Whether it learns, by the number that counts for the method."""
    if method in ("dpo", "kto"):
        held_out = "rewards/accuracies" if method == "dpo" else "rewards/margins"
        name = "held-out accuracy" if method == "dpo" else "held-out margin"
        said = _moves("margin", "rewards/margins", readings) + _held_out(name, held_out, readings, method == "dpo")
        chosen = last(readings.get("rewards/chosen", ()), WINDOW)
        return said + "; chosen log-probs fall, which is common" * bool(chosen and fmean(chosen) < 0)
    if method == "reward":
        said = _moves("accuracy", "accuracy", readings, share=True)
        return said + _held_out("held out", "accuracy", readings, share=True)
    if method in ROLLOUT:
        return _moves("reward", "reward", readings) + _held_out("held out", "reward", readings)
    return _loss(last(readings["loss"], len(readings["loss"]))) + _follows(readings)


def _loss(values: Sequence[float]) -> str:
    if len(values) < _ENOUGH:
        return f"started: loss {values[-1]:.3g}" if values else "started"
    third = len(values) // 3
    first, final = fmean(values[:third]), fmean(values[-third:])
    if final < first * 0.97:
        return "learning: loss falls"
    if final > first * 1.1:
        return "trouble: loss rises; a lower training.learning_rate is the first thing to try"
    return "loss is level"


def _follows(readings: Readings) -> str:
    held_out = rules.overfitting("sft", readings)
    return ", held-out follows" if held_out and held_out.level == "good" else ""


def _moves(name: str, metric: str, readings: Readings, *, share: bool = False) -> str:
    """A metric that should rise, and whether it does."""
    values = last(readings.get(metric, ()), len(readings.get(metric, ())))
    if not values:
        return f"started: no {name} yet"
    newest = fmean(values[-WINDOW:])
    said = f"{name} {percent(newest) if share else number(newest)}"
    if len(values) < _ENOUGH:
        return f"started: {said}"
    way = trends.trend(values)
    return {"rises": "learning: ", "falls": "trouble: ", "is level": ""}[way] + f"{said} {way}"


def _held_out(name: str, metric: str, readings: Readings, share: bool = False) -> str:
    """The newest evaluation of what was trained; the untrained model's says nothing."""
    step, value = next(iter(readings.get(f"eval_{metric}", ())[-1:]), (0, 0.0))
    return f", {name} {percent(value) if share else number(value)}" if step else ""


def _alerts(view: RunView, steps: Points) -> list[str]:
    """The newest alert, while it is new; one that names no step stays."""
    if not view.alerts or int(view.alerts[-1].get("step", steps[-1][0])) < steps[-_RECENT:][0][0]:
        return []
    return [one_line(str(view.alerts[-1].get("message", "")), 80)]
