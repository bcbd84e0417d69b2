"""A report on rewards as lines of text, for the command and the screen. What is shown was made safe here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.rewards.report import Disagreement, Facts, Finding, ProbeFacts, Report, RewardFacts, Scored, Slow
from trainer.rewards.trial import Trial
from trainer.text import clean, one_line
from tui.units import compact

REWARD_HEAD = "  reward        weight    n   mean    std    min    max  flat  ~len  err      s"
_NAME, _PROBE, _CELL = 13, 24, 9
_MARKS = {"stop": "STOP", "warn": "warn", "info": "note"}
_LONG = 4000  # characters of a completion that are shown


def reward_line(reward: RewardFacts) -> str:
    """One reward under REWARD_HEAD."""
    head = f"  {_cut(reward.name, _NAME)}{compact(reward.weight):>7}"
    return f"{head}{_facts(reward.facts)}{reward.errors:>5}{figure(reward.seconds['median']):>7}"


def total_line(report: Report) -> str:
    """The weighted total under REWARD_HEAD."""
    return f"  {'total':<{_NAME}}{'':>7}{_facts(report.total)}"


def shown_rewards(report: Report, width: int | None) -> list[str]:
    """The rewards whose columns fit into `width` beside a probe; None is room for all."""
    names = [reward.name for reward in report.rewards]
    return names if width is None else names[: max((width - _PROBE - 20) // (_CELL + 1), 1)]


def probe_head(names: Sequence[str]) -> str:
    """The names over the scores of probes."""
    return f"  {'probe':<{_PROBE}}{'total':>7}{''.join(f' {one_line(name, _CELL):>{_CELL}}' for name in names)}"


def probe_line(probe: ProbeFacts, names: Sequence[str]) -> str:
    """One probe under `probe_head`."""
    mark = "  exploit" if probe.exploits else "  repeats" if probe.repeats else ""
    return score_line(probe.name, probe.total, probe.scores, names) + mark


def score_line(what: str, total: float | None, scores: Mapping[str, float | None], names: Sequence[str]) -> str:
    """The total and the rewards of anything, under `probe_head`."""
    return f"  {_cut(what, _PROBE)}{figure(total):>7}{''.join(f' {figure(scores[name]):>{_CELL}}' for name in names)}"


def beside_probes(trial: Trial, names: Sequence[str]) -> list[str]:
    """What probes are compared with: the median right answer and the median completion, under `probe_head`."""
    report, right = trial.report, trial.report.references
    lines = [score_line(f"right answers ({right.n})", right.total, right.scores, names)] if right.n else []
    if trial.completions is not trial.references:
        lines.append(score_line("median completion", report.medians["total"], report.medians, names))
    return lines


def slow_line(slow: Slow) -> str:
    """A call that took long."""
    return (
        f"  {slow.seconds:6.2f} s  {_cut(slow.reward, _NAME)} {one_line(slow.place)}  {one_line(slow.completion, 50)}"
    )


def disagreement_line(one: Disagreement, n: int) -> str:
    """Which reward is at its top where which other is at its bottom, how often, and the first completion."""
    told = f"  {one_line(one.high)} at its top, {one_line(one.low)} at its bottom: {len(one.at)} of {n}, for example "
    return told + one_line(one.completion, 90)


def finding_line(finding: Finding) -> str:
    """A finding behind its mark."""
    return f"{_MARKS[finding.severity]}  {one_line(finding.message)}"


def completion_lines(scored: Scored, at: int) -> list[tuple[str, str]]:
    """A completion with what every reward gave it and why, as (text, name of a style)."""
    one = scored.completions[at]
    lines = [(f"{one_line(one.task.place)}  {one_line(one.task.text, 200)}", "bold")]
    for name, scores in scored.scores.items():
        lines.append((f"{one_line(name)} {figure(scores[at].score)}  {one_line(scores[at].reason)}", "accent"))
    more = f"\n({len(one.text) - _LONG} more characters)" if len(one.text) > _LONG else ""
    return [*lines, (clean(one.text[:_LONG]) + more or "(empty)", ""), ("", "")]


def figure(value: float | None) -> str:
    """A score, a dash where there is none."""
    return "-" if value is None else compact(value)


def _facts(facts: Facts) -> str:
    numbers = "".join(f"{figure(value):>7}" for value in (facts.mean, facts.std, facts.min, facts.max))
    flat = "-" if facts.zero_variance_share is None else f"{facts.zero_variance_share:.0%}"
    bound = "-" if facts.length_correlation is None else f"{facts.length_correlation:+.2f}"
    return f"{facts.n:>5}{numbers}{flat:>6}{bound:>6}"


def _cut(text: str, width: int) -> str:
    return f"{one_line(text, width - 1):<{width}}"
