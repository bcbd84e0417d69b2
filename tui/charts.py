"""What the monitor shows of each method: the pictures of the `m` key and the figures beside them. Tables, no logic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from trainer.runs.model import Event, Series
from trainer.text import one_line
from tui.plot import Curve
from tui.widgets.lines import Line


@dataclass(frozen=True)
class Picture:
    """One chart: a title and its curves as (label, metric). The held-out twin of each is drawn where there is one."""

    title: str
    curves: tuple[tuple[str, str], ...]


def _alone(*metrics: str) -> tuple[Picture, ...]:
    return tuple(Picture(metric, (("train", metric),)) for metric in metrics)


_MEMORY = Picture("memory, GiB", ())
_ENDS = (*_alone("loss", "grad_norm", "learning_rate", "tokens_per_s"), _MEMORY)
_SIDES = (
    Picture("rewards", (("chosen", "rewards/chosen"), ("rejected", "rewards/rejected"))),
    Picture("log-probs", (("chosen", "logps/chosen"), ("rejected", "logps/rejected"))),
)
_REWARD = Picture("reward", (("sum", "reward"),))
_ROLLOUT = (
    _REWARD,
    *_alone("reward_std", "frac_reward_zero_std", "kl", "objective/kl", "entropy"),
    Picture("tokens", (("mean", "completions/mean_length"), ("max", "completions/max_length"))),
    *_alone("completions/clipped_ratio", "clip_ratio/region_mean", "policy/clipfrac_avg"),
    Picture("seconds", (("generate", "generate_s"), ("score", "score_s"), ("learn", "learn_s"))),
    *_alone("val/explained_variance", "loss/value_avg", "loss/policy_avg"),
    *_ENDS,
)
_SUPERVISED = (*_alone("loss", "mean_token_accuracy", "learning_rate", "grad_norm", "tokens_per_s", "entropy"), _MEMORY)
_PICTURES: dict[str, tuple[Picture, ...]] = {
    "dpo": (*_alone("rewards/margins", "rewards/accuracies"), *_SIDES, *_alone("mean_token_accuracy", "entropy"), *_ENDS),
    "kto": (*_alone("rewards/margins"), *_SIDES, *_alone("kl", "entropy"), *_ENDS),
    "reward": (
        *_alone("accuracy", "margin"),
        Picture("scores", (("mean", "mean_reward"), ("max", "max_reward"), ("min", "min_reward"))),
        *_ENDS,
    ),
    "rloo": _ROLLOUT, "ppo": _ROLLOUT, "grpo": _ROLLOUT,
}  # fmt: skip

_PACE = (("grad norm", "grad_norm"), ("lr", "learning_rate"), ("tok/s", "tokens_per_s"))
_OF_ROLLOUTS = (
    ("reward", "reward"), ("held out", "eval_reward"), ("zero std", "frac_reward_zero_std"), ("entropy", "entropy"),
    ("kl", "kl"), ("kl", "objective/kl"), ("tokens", "completions/mean_length"), ("cut off", "completions/clipped_ratio"),
    ("grad norm", "grad_norm"),
)  # fmt: skip
_OF_SUPERVISED = (
    ("tok/s", "tokens_per_s"), ("grad norm", "grad_norm"), ("lr", "learning_rate"), ("accuracy", "mean_token_accuracy"),
    ("entropy", "entropy"), ("step s", "step_time_s"), ("MFU", "mfu"),
)  # fmt: skip
_FIGURES: dict[str, tuple[tuple[str, str], ...]] = {
    "dpo": (
        ("margin", "rewards/margins"), ("accuracy", "rewards/accuracies"), ("held out", "eval_rewards/accuracies"),
        ("chosen", "logps/chosen"), ("rejected", "logps/rejected"), *_PACE,
    ),
    "kto": (
        ("margin", "rewards/margins"), ("held out", "eval_rewards/margins"), ("chosen", "logps/chosen"),
        ("rejected", "logps/rejected"), ("kl", "kl"), *_PACE,
    ),
    "reward": (
        ("accuracy", "accuracy"), ("held out", "eval_accuracy"), ("margin", "margin"), ("reward", "mean_reward"), *_PACE,
    ),
    "rloo": _OF_ROLLOUTS, "ppo": _OF_ROLLOUTS, "grpo": _OF_ROLLOUTS,
}  # fmt: skip


def pictures(method: str, series: Collection[str], checks: Collection[str] = ()) -> list[Picture]:
    """The charts of a method that have readings, the most telling one first in any case, memory last."""
    every = [
        Picture("reward", (*picture.curves, *_components(series, checks))) if picture is _REWARD else picture
        for picture in _PICTURES.get(method, _SUPERVISED)
    ]
    return [
        picture
        for picture in every
        if picture in (every[0], _MEMORY)
        or any(metric in series or f"eval_{metric}" in series for _, metric in picture.curves)
    ]


def _components(series: Collection[str], checks: Collection[str]) -> list[tuple[str, str]]:
    """The rewards that the sum is made of, where there are several; a check teaches nothing and is named first."""
    names = [name[8:-5] for name in series if name.startswith("rewards/") and name.endswith("/mean")]
    said = {name: f"{one_line(name, 14)}{' (check)' if name in checks else ''}" for name in names}
    names.sort(key=lambda name: name not in checks)
    return [(said[name], f"rewards/{name}/mean") for name in names] if len(names) > 1 else []


def curves(picture: Picture, series: Mapping[str, Series], memory: Sequence[Event]) -> list[Curve]:
    """What to draw for a picture: each curve, and the held-out ones as points. Rewards held out are drawn as their sum."""
    if picture is _MEMORY:
        return _memory(memory)
    several = len(picture.curves) > 1 and picture.title != _REWARD.title
    drawn = [
        Curve(label, found.steps, found.last, low=found.low, high=found.high)
        for label, metric in picture.curves
        if (found := series.get(metric))
    ]
    held_out = [
        Curve(f"{label} held out" if several else "held out", found.steps, found.last, marked=True)
        for label, metric in (picture.curves if several else picture.curves[:1])
        if (found := series.get(f"eval_{metric}"))
    ]
    return [*drawn, *held_out] if several else [*drawn[:1], *held_out, *drawn[1:]]


def _memory(memory: Sequence[Event]) -> list[Curve]:
    """Host and device memory over the readings; the x axis counts readings, five seconds apart."""
    drawn = []
    for label, key in (("host", "host_rss_gib"), ("GPU", "device_used_gib"), ("GPU peak of torch", "peak_gib")):
        known = [(i, float(event[key])) for i, event in enumerate(memory) if event.get(key) is not None]
        if known:
            drawn.append(Curve(label, [i for i, _ in known], [value for _, value in known]))
    return drawn


def figures(method: str, series: Mapping[str, Series]) -> list[tuple[str, Series]]:
    """(label, metric) of the numbers beside the chart, those that have readings."""
    wanted = _FIGURES.get(method, _OF_SUPERVISED)
    return [(label, found) for label, metric in wanted if (found := series.get(metric)) and found.last]


def split_line(series: Mapping[str, Series]) -> Line | None:
    """How a step of a rollout method divides into generating, scoring and learning."""
    parts = [series[name].last[-1] for name in ("generate_s", "score_s", "learn_s") if name in series]
    if len(parts) < 3 or not sum(parts):
        return None
    generate, score, learn = (f"{100 * part / sum(parts):.0f}%" for part in parts)
    return [
        (" gen ", "dim"),
        (generate, "bold"),
        (" score ", "dim"),
        (score, "bold"),
        (" learn ", "dim"),
        (learn, "bold"),
    ]
