"""What a run's numbers say, in one sentence: the line that a person reads first."""

from __future__ import annotations

import time
from statistics import fmean, median

from trainer.runs.model import RunView, Series
from trainer.text import one_line

_ENOUGH = 12  # readings before a trend is called one
_QUIET_S = 30.0


def in_words(view: RunView, now: float | None = None) -> str:
    """The verdict on a run as it stands: how it ended, or whether it learns, waits or hangs."""
    summary = view.summary
    if summary.verdict:
        return one_line(f"{summary.state}: {summary.verdict.message}")
    if summary.note:
        return one_line(summary.note)
    if not summary.live:
        return summary.state
    if quiet := _quiet(view, now or time.time()):
        return quiet
    loss = view.series.get("loss")
    if summary.phase != "training" or loss is None:
        return f"{summary.state}: {summary.phase}" if summary.phase else summary.state
    return ", ".join([_loss(loss), *_held_out(view), *_alerts(view)])


def _quiet(view: RunView, now: float) -> str:
    """A sentence where the run has been silent for many times its usual step."""
    step = view.facts.get("step") if view.summary.phase == "training" else None
    # A heart that beats is no step: in training it is the last step that counts.
    silent = max(now - float(step["t"]), 0.0) if step and "t" in step else view.summary.age(now)
    steps = view.series.get("step_time_s")
    usual = median(steps.last[-50:]) if steps else 0.0
    if silent is not None and silent > max(_QUIET_S, 20 * usual):
        return f"nothing new for {silent:.0f} s, a step usually takes {usual:.2g} s: it may hang"
    return ""


def _loss(loss: Series) -> str:
    if len(loss.last) < _ENOUGH:
        return f"started: loss {loss.last[-1]:.3g}"
    third = len(loss.last) // 3
    first, last = fmean(loss.last[:third]), fmean(loss.last[-third:])
    if last < first * 0.97:
        return "learning: loss falls"
    if last > first * 1.1:
        return "trouble: loss rises; a lower training.learning_rate is the first thing to try"
    return "loss is level"


def _held_out(view: RunView) -> list[str]:
    held_out = view.series.get("eval_loss")
    if held_out is None or len(held_out.last) < 2:
        return []
    best, newest = min(held_out.last), held_out.last[-1]
    if newest <= best * 1.01:
        return ["held-out follows"]
    return [f"held-out loss is {newest / best - 1:.0%} above its best: it starts to learn by heart"]


def _alerts(view: RunView) -> list[str]:
    return [one_line(str(view.alerts[-1].get("message", "")), 80)] if view.alerts else []
