"""What the scores of a trial say: spread, groups, length, disagreement, what is slow. Pure arithmetic on scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from statistics import StatisticsError, correlation, fmean, median, stdev
from typing import Any, Literal

from recipes.rewards import Reward
from trainer.rewards.completions import Completion
from trainer.rewards.probes import Probe
from trainer.rewards.score import Score

_SAME = 1e-6  # totals closer than this teach nothing: rewards are compared in single precision
_SLOWEST = 5
_FULL_MARKS = {
    "numeric": 1.0, "match": 1.0, "regex": 1.0, "json": 1.0, "json_answer": 1.0, "tool_call": 1.0, "tags": 1.0,
    "python_tests": 1.0, "length": 0.0,
}  # fmt: skip

Severity = Literal["stop", "warn", "info"]


@dataclass(frozen=True)
class Scored:
    """Completions with what each reward gave them, how long it took, and how many calls failed."""

    completions: Sequence[Completion]
    scores: Mapping[str, Sequence[Score]]
    seconds: Mapping[str, Sequence[float]]
    errors: Mapping[str, int]

    def values(self, name: str) -> list[float | None]:
        """What one reward gave."""
        return [score.score for score in self.scores[name]]

    def totals(self, rewards: Mapping[str, Reward]) -> list[float | None]:
        """The weighted sum of what was scored, as a run adds it up; None where nothing was."""
        found: list[float | None] = []
        for at in range(len(self.completions)):
            given = [(rewards[name].weight, scores[at].score) for name, scores in self.scores.items()]
            parts = [weight * score for weight, score in given if score is not None]
            found.append(sum(parts) if parts else None)
        return found


@dataclass(frozen=True)
class Facts:
    """What the scores of completions are like. None: not to be told, for want of scores, of groups or of variance."""

    n: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    zero_variance_share: float | None
    length_correlation: float | None


@dataclass(frozen=True)
class RewardFacts:
    """One reward on the completions; `errors` counts the calls that failed for good, `full` its full marks."""

    name: str
    kind: str
    weight: float
    full: float | None
    facts: Facts
    errors: int
    seconds: dict[str, float | None]  # median, slowest


@dataclass(frozen=True)
class Short:
    """A right answer that a reward does not give full marks."""

    place: str
    score: float | None
    reason: str


@dataclass(frozen=True)
class References:
    """How the right answers of the data scored: their medians, and those that got less than full marks."""

    n: int
    scores: dict[str, float | None]
    total: float | None
    short: dict[str, list[Short]]


@dataclass(frozen=True)
class ProbeFacts:
    """How a probe scored, in the mean over its prompts. `exploits`: as well as a right answer, without one."""

    name: str
    scores: dict[str, float | None]
    total: float | None
    exploits: bool
    repeats: bool  # it scores so because it holds the right answer
    errors: int
    hint: str


@dataclass(frozen=True)
class Disagreement:
    """Completions that one reward puts at its top and another at its bottom, by index, and the first of them."""

    high: str
    low: str
    at: list[int]
    completion: str
    reasons: dict[str, str]


@dataclass(frozen=True)
class Slow:
    """A call that took long."""

    reward: str
    seconds: float
    place: str
    completion: str


@dataclass(frozen=True)
class Finding:
    """Something that a person should know: `stop` is serious. `about` is the reward or the probe, where it is one."""

    severity: Severity
    kind: str
    about: str
    message: str
    hint: str


@dataclass(frozen=True)
class Report:
    """All of it. `groups`: whether any prompt has several completions to compare."""

    recipe: str
    source: str
    n: int
    groups: bool
    rewards: list[RewardFacts]
    total: Facts
    medians: dict[str, float | None]
    references: References
    probes: list[ProbeFacts]
    disagreements: list[Disagreement]
    slowest: list[Slow]
    left_out: list[str]

    def as_object(self) -> dict[str, Any]:
        """Plain data for JSON: the facts of a reward stand beside its name."""
        told = asdict(self)
        told["rewards"] = [_flat(reward) for reward in told["rewards"]]
        told["disagreements"] = [{**one, "count": len(one["at"])} for one in told["disagreements"]]
        return told


def report(
    recipe: str,
    source: str,
    rewards: Mapping[str, Reward],
    completions: Scored,
    references: Scored,
    probes: Sequence[tuple[Probe, Scored]],
    left_out: Sequence[str] = (),
) -> Report:
    """The report on a trial."""
    about = _about_references(rewards, references)
    totals = completions.totals(rewards)
    return Report(
        recipe=recipe,
        source=source,
        n=len(completions.completions),
        groups=len({one.group for one in completions.completions}) < len(completions.completions),
        rewards=[_about_reward(name, reward, completions) for name, reward in rewards.items()],
        total=facts(totals, completions.completions),
        medians={**{name: _median(completions.values(name)) for name in rewards}, "total": _median(totals)},
        references=about,
        probes=[_about_probe(probe, scored, rewards, about) for probe, scored in probes],
        disagreements=disagreements(completions, rewards),
        slowest=_slowest([completions, references, *(scored for _, scored in probes)]),
        left_out=list(left_out),
    )


def facts(values: Sequence[float | None], completions: Sequence[Completion]) -> Facts:
    """The statistics of one column of scores over completions."""
    scored = [(value, one) for value, one in zip(values, completions, strict=True) if value is not None]
    known = [value for value, _ in scored]
    groups: dict[int, list[float]] = defaultdict(list)
    for value, one in scored:
        groups[one.group].append(value)
    compared = [group for group in groups.values() if len(group) > 1]
    flat = sum(max(group) - min(group) < _SAME for group in compared)
    return Facts(
        n=len(known),
        mean=fmean(known) if known else None,
        std=stdev(known) if len(known) > 1 else None,
        min=min(known, default=None),
        max=max(known, default=None),
        zero_variance_share=flat / len(compared) if compared else None,
        length_correlation=_correlation(known, [len(one.text) for _, one in scored]),
    )


def disagreements(scored: Scored, rewards: Mapping[str, Reward]) -> list[Disagreement]:
    """Each pair of rewards of which one is at its top where the other is at its bottom, the most frequent first."""
    found = []
    for high, low in permutations(rewards, 2):
        if rewards[high].kind == "length":  # not to be punished is nothing to disagree with
            continue
        top, bottom = _end(scored.values(high), max), _end(scored.values(low), min)
        at = [index for index in top if index in bottom]
        if at:
            reasons = {name: scored.scores[name][at[0]].reason for name in (high, low)}
            found.append(Disagreement(high, low, at, scored.completions[at[0]].text, reasons))
    return sorted(found, key=lambda one: -len(one.at))


def _about_reward(name: str, reward: Reward, scored: Scored) -> RewardFacts:
    seconds = scored.seconds[name]
    return RewardFacts(
        name=name,
        kind=reward.kind,
        weight=reward.weight,
        full=_FULL_MARKS.get(reward.kind),
        facts=facts(scored.values(name), scored.completions),
        errors=scored.errors[name],
        seconds={"median": _median(seconds), "slowest": max(seconds, default=None)},
    )


def _about_references(rewards: Mapping[str, Reward], scored: Scored) -> References:
    short: dict[str, list[Short]] = {}
    for name, reward in rewards.items():
        full = _FULL_MARKS.get(reward.kind)
        short[name] = [
            Short(one.task.place, score.score, score.reason)
            for one, score in zip(scored.completions, scored.scores[name], strict=True)
            if score.score is None or (full is not None and score.score < full - _SAME)
        ]
    return References(
        n=len(scored.completions),
        scores={name: _median(scored.values(name)) for name in rewards},
        total=_median(scored.totals(rewards)),
        short=short,
    )


def _about_probe(probe: Probe, scored: Scored, rewards: Mapping[str, Reward], references: References) -> ProbeFacts:
    total = _mean(scored.totals(rewards))
    bar = _bar(rewards, references)
    pays = total is not None and bar is not None and total >= bar - _SAME
    return ProbeFacts(
        name=probe.name,
        scores={name: _mean(scored.values(name)) for name in rewards},
        total=total,
        exploits=pays and not probe.honest,
        repeats=pays and probe.honest,
        errors=sum(scored.errors.values()),
        hint=probe.hint,
    )


def _bar(rewards: Mapping[str, Reward], references: References) -> float | None:
    """The total that a probe must not reach: that of the median right answer, full marks where the data has none. None
    where right answers do not score, for then anything does as well."""
    if not references.n:
        marks = [(reward.weight, _FULL_MARKS.get(reward.kind)) for reward in rewards.values()]
        known = [weight * full for weight, full in marks if full is not None]
        return sum(known) if len(known) == len(marks) else None
    for name, reward in rewards.items():
        full, score = _FULL_MARKS.get(reward.kind), references.scores[name]
        if score is None or (full is not None and reward.kind != "length" and score < full - _SAME):
            return None
    return references.total


def _slowest(sets: Sequence[Scored]) -> list[Slow]:
    every = [
        Slow(name, seconds, one.task.place, one.text)
        for scored in sets
        for name, several in scored.seconds.items()
        for one, seconds in zip(scored.completions, several, strict=True)
    ]
    return sorted(every, key=lambda slow: -slow.seconds)[:_SLOWEST]


def _flat(reward: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in reward.items() if key != "facts"}, **reward["facts"]}


def _end(values: Sequence[float | None], end: Any) -> list[int]:
    """Indexes of the scores at one end, none where all are the same."""
    known = [value for value in values if value is not None]
    if not known or max(known) - min(known) < _SAME:
        return []
    return [index for index, value in enumerate(values) if value is not None and abs(value - end(known)) < _SAME]


def _correlation(values: Sequence[float], lengths: Sequence[int]) -> float | None:
    try:
        return correlation(values, lengths)
    except StatisticsError:  # fewer than two, or no variance
        return None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
