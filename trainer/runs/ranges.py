"""Published ranges of what trainers log: each with its source and what to do outside it. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

Level = Literal["good", "watch", "bad"]
Points = Sequence[tuple[int, float]]  # (step, value), oldest first
Readings = Mapping[str, Points]  # by the trainer's own names, held-out ones with `eval_` before

GUIDE = "Axolotl's guide"
OWN_RULE = "own rule"
SUPERVISED = ("sft", "cpt")
ROLLOUT = ("rloo", "ppo", "grpo")
WINDOW = 10  # readings that one verdict rests on: a batch is small, a single reading is noise
_LEAST = 5


@dataclass(frozen=True)
class Finding:
    """One verdict on the numbers. `alarm` is a name that `health.stop_on` knows, or `stall` or `off-policy`."""

    alarm: str
    level: Level
    text: str  # words with the number
    range: str  # where the number should lie
    source: str  # who says so
    remedy: str
    value: float
    step: int  # of the newest reading that it rests on

    @property
    def why(self) -> str:
        """The words with the range and its source."""
        return f"{self.text} ({self.range}, {self.source})"


@dataclass(frozen=True)
class Range:
    """Where one metric should lie. Outside is `watch`, beyond `bad_low` and `bad_high`, the red flags, it is `bad`."""

    alarm: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]  # the first of them that is logged
    said: str  # the number in words
    low: float = -math.inf
    high: float = math.inf
    bad_low: float = -math.inf
    bad_high: float = math.inf
    low_means: str = ""
    high_means: str = ""
    low_remedy: str = ""
    high_remedy: str = ""
    share: bool = False
    typical: Callable[[Sequence[float]], float] = median

    def judge(self, method: str, readings: Readings) -> Finding | None:
        """The verdict on the last readings, None where there are too few."""
        points = next((readings[name] for name in self.metrics if name in readings), ())
        values = last(points, WINDOW)
        if len(values) < _LEAST:
            return None
        value = self.typical(values)
        text = self.said.format(self._number(value))
        remedy = ""
        if value < self.low:
            text, remedy = f"{self.low_means}: {text}", self.low_remedy
        elif value >= self.high:
            text, remedy = f"{self.high_means}: {text}", self.high_remedy
        bad = value < self.bad_low or value >= self.bad_high
        level: Level = "bad" if bad else "watch" if remedy else "good"
        kl_weight = f"{method}.kl_coef" if method == "ppo" else f"{method}.beta"
        remedy = remedy.format(method=method, kl_weight=kl_weight)
        return Finding(self.alarm, level, text, self._range(), GUIDE, remedy, value, points[-1][0])

    def _number(self, value: float) -> str:
        return percent(value) if self.share else number(value)

    def _range(self) -> str:
        if self.high == math.inf:
            return f"> {self._number(self.low)}"
        if self.low == -math.inf:
            return f"< {self._number(self.high)}"
        return f"{self._number(self.low)} to {self._number(self.high)}"


def last(points: Points, count: int) -> list[float]:
    """The values of the last `count` points, without those that are no number."""
    return [value for _, value in points[-count:] if math.isfinite(value)]


def number(value: float, digits: int = 2) -> str:
    """A number of so many digits, and no power of ten below a million."""
    return f"{value:.0f}" if 10**digits <= abs(value) < 1e6 else f"{value:.{digits}g}"


def percent(share: float) -> str:
    """A share as a person reads it: 68 %."""
    return f"{100 * share:.0f} %"


_SMALL_GRADIENT = "where the reward or the loss moves all the same, this is fine: adapters may lie below the range"
_LARGE_GRADIENT = (
    "lower training.learning_rate or raise training.gradient_accumulation_steps; training.max_grad_norm clips it"
)
_MORE_VARIETY = "raise {method}.temperature or {kl_weight}, or lower training.learning_rate"

RANGES = (
    Range(  # PPO learns against a value model, not within groups
        "no-variance", ("rloo", "grpo"), ("frac_reward_zero_std",), "{} of groups have no variance", high=0.8, bad_high=0.8,
        high_means="nothing to learn from", high_remedy="harder or easier prompts, or a finer reward",
        share=True, typical=fmean,
    ),
    Range(
        "clipped", ROLLOUT, ("completions/clipped_ratio",), "{} of completions reach the limit", high=0.3, bad_high=0.8,
        high_means="answers are cut off",
        high_remedy="raise {method}.max_completion_length, or reward brevity", share=True, typical=fmean,
    ),
    Range(
        "entropy", ROLLOUT, ("entropy",), "entropy {}", low=0.05, high=0.5, bad_low=0.01,
        low_means="answers become alike", low_remedy=_MORE_VARIETY,
        high_means="answers are still spread out",
        high_remedy="usual at the start; where it stays above 1, lower {method}.temperature or training.learning_rate",
    ),
    Range(
        "kl", ROLLOUT, ("kl",), "KL {} a token", high=0.5, bad_high=2.0, high_means="far from the reference",
        high_remedy="raise {kl_weight} or lower training.learning_rate",
    ),
    Range(
        "clip-ratio", ROLLOUT, ("clip_ratio/region_mean", "policy/clipfrac_avg"), "{} of ratios are clipped", high=0.1,
        bad_high=0.3, high_means="steps are too large",
        high_remedy="lower training.learning_rate or {method}.num_iterations", share=True, typical=fmean,
    ),
    Range(
        "grad-norm", SUPERVISED, ("grad_norm",), "gradient norm {}", low=0.1, high=10.0, bad_high=100.0,
        low_means="a small gradient", low_remedy=_SMALL_GRADIENT,
        high_means="a large gradient", high_remedy=_LARGE_GRADIENT,
    ),
    Range(  # the guide's range is GRPO's; RLOO and PPO weigh their losses otherwise
        "grad-norm", ("grpo",), ("grad_norm",), "gradient norm {}", low=0.001, high=1.0, bad_high=10.0,
        low_means="a small gradient", low_remedy=_SMALL_GRADIENT,
        high_means="a large gradient", high_remedy=_LARGE_GRADIENT,
    ),
    Range(
        "off-policy", ROLLOUT, ("sampling/sampling_logp_difference/mean",), "log-probs differ by {}", high=0.1,
        bad_high=1.0, high_means="vLLM answers with other weights",
        high_remedy="generate with the weights that are trained: {method}.vllm_mode=colocate, or use_vllm=false",
    ),
)  # fmt: skip
