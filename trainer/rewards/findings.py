"""A report in sentences: what is wrong with the rewards, worst first, what to do, and the verdict on one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.rewards.report import Facts, Finding, Report, RewardFacts, Short

_MANY_FLAT = 0.75  # of the groups: beyond it most of the generated tokens teach nothing
_BOUND_TO_LENGTH = 0.7
_ENOUGH = 16  # completions that a correlation is believed from
_ORDER = ("stop", "warn", "info")


def findings(report: Report) -> list[Finding]:
    """All of them, the serious ones first, right answers before all else."""
    every = [
        *_right_answers(report),
        *_exploits(report),
        *_spread(report),
        *_failures(report),
        *_lengths(report),
        *_disagreements(report),
        *(
            Finding("info", "left-out", name, f"`{name}` is a reward model, scored in the run only", "")
            for name in report.left_out
        ),
    ]
    return sorted(every, key=lambda finding: _ORDER.index(finding.severity))


def serious(found: Sequence[Finding]) -> bool:
    """Whether a run with these rewards should not be started."""
    return any(finding.severity == "stop" for finding in found)


def verdict(report: Report) -> str:
    """The whole on one line."""
    parts = [_spread_in_words(report), _right_answers_in_words(report), _probes_in_words(report)]
    if _right_answers_fail(report):  # then nothing else counts
        parts[:2] = parts[1::-1]
    return "; ".join(part for part in parts if part)


def teaches(facts: Facts) -> bool:
    """Whether the completions of some prompt were told apart."""
    return facts.zero_variance_share is not None and facts.zero_variance_share < 1


def _right_answers(report: Report) -> Iterator[Finding]:
    for reward in report.rewards:
        short = report.references.short[reward.name]
        if not short:
            continue
        penalty = reward.kind == "length"
        yield Finding(
            "warn" if penalty else "stop",
            "right-answer",
            reward.name,
            f"{_first_short(short, reward.name)}{_of(short, report)}",
            "right answers are longer than the reward allows: raise its `soft`"
            if penalty
            else "the reward reads the wrong column or asks for another form than the answers of the data have: a policy "
            "that says what the data says would not be paid",
        )
    if not report.references.n:
        yield Finding(
            "info",
            "no-right-answers",
            "",
            "the rows have no answer that could be scored as a completion",
            "give rows with a completion to see what a perfect model would be paid",
        )


def _exploits(report: Report) -> Iterator[Finding]:
    for probe in report.probes:
        if probe.exploits:
            told = f"the probe `{probe.name}` scores {probe.total:.3g}, as well as a right answer{_right(report)}"
            yield Finding("stop", "exploit", probe.name, told, probe.hint)
        elif probe.repeats:
            yield Finding(
                "info", "repetition", probe.name, f"`{probe.name}` scores as well as one said once", probe.hint
            )
        if probe.errors:
            told = f"the rewards fail on the probe `{probe.name}` ({probe.errors} calls)"
            yield Finding(
                "warn", "probe-fails", probe.name, told, "a policy will say such things: let the reward score them 0"
            )


def _spread(report: Report) -> Iterator[Finding]:
    if not report.groups:
        return
    paid = [reward for reward in report.rewards if reward.weight]
    without = [reward for reward in paid if not teaches(reward.facts)]
    if len(without) == len(paid):
        yield Finding(
            "stop",
            "no-spread",
            "",
            f"no reward has spread: {_level(report.total)}, nothing could be learned",
            "take prompts that the model solves sometimes, start from a run that solves some, or raise temperature",
        )
        return
    for reward in without:
        yield Finding(
            "warn",
            "no-spread",
            reward.name,
            f"`{reward.name}` has no spread, {_level(reward.facts)}: it teaches nothing",
            "leave it out, or keep it as a guard against losing what the model already does",
        )
    share = report.total.zero_variance_share
    if share is not None and share >= _MANY_FLAT:
        yield Finding(
            "warn",
            "flat-groups",
            "",
            f"in {share:.0%} of the groups all totals are the same: those teach nothing",
            "take prompts of middling difficulty, or more generations a prompt",
        )


def _failures(report: Report) -> Iterator[Finding]:
    for reward in report.rewards:
        if reward.errors:
            yield Finding(
                "stop" if reward.errors == report.n else "warn",
                "errors",
                reward.name,
                f"`{reward.name}` failed on {reward.errors} of {report.n} completions",
                "its reasons tell what happened; on_error says what a run does then",
            )


def _lengths(report: Report) -> Iterator[Finding]:
    if not report.groups:  # between prompts, length goes with what was asked
        return
    for reward in report.rewards:
        bound = reward.facts.length_correlation
        if bound is None or abs(bound) < _BOUND_TO_LENGTH or reward.facts.n < _ENOUGH or reward.kind == "length":
            continue
        yield Finding(
            "warn",
            "length",
            reward.name,
            f"`{reward.name}` follows the length of the completion (correlation {bound:+.2f})",
            f"the policy will learn to write {'more' if bound > 0 else 'less'}: look whether that is what is wanted",
        )


def _disagreements(report: Report) -> Iterator[Finding]:
    for one in report.disagreements:
        yield Finding(
            "info",
            "disagreement",
            one.high,
            f"`{one.high}` is at its top and `{one.low}` at its bottom in {len(one.at)} of {report.n} completions",
            "read an example: what the weights make of it is what the policy will learn",
        )


def _spread_in_words(report: Report) -> str:
    if not report.groups:
        return ""
    paid = [reward for reward in report.rewards if reward.weight]
    without = [f"`{reward.name}`" for reward in paid if not teaches(reward.facts)]
    if not without:
        return "every reward has spread" if len(paid) > 1 else f"`{paid[0].name}` has spread"
    if len(without) == len(paid):
        return "no reward has spread, nothing could be learned"
    none = "has none and teaches" if len(without) == 1 else "have none and teach"
    return f"{len(paid) - len(without)} of {len(paid)} rewards have spread, {', '.join(without)} {none} nothing"


def _right_answers_in_words(report: Report) -> str:
    short = {reward.name: report.references.short[reward.name] for reward in _strict(report)}
    first = next((name for name in short if short[name]), None)
    if first is not None:
        return _first_short(short[first], first)
    return "right answers get full marks" if report.references.n and short else ""


def _probes_in_words(report: Report) -> str:
    pays = [f"`{probe.name}`" for probe in report.probes if probe.exploits]
    if not pays:
        judged = report.references.n and not _right_answers_fail(report)
        return "no probe scores as well as a right answer" if judged else ""
    some = f"{', '.join(pays[:2])}{f' and {len(pays) - 2} more' if len(pays) > 2 else ''}"
    return f"the probe{'s' * (len(pays) > 1)} {some} beat{'s' * (len(pays) == 1)} honest answers"


def _strict(report: Report) -> list[RewardFacts]:
    """The rewards that owe a right answer full marks; of a function nobody knows what those are."""
    return [reward for reward in report.rewards if reward.kind != "length" and reward.full is not None]


def _right_answers_fail(report: Report) -> bool:
    return any(report.references.short[reward.name] for reward in _strict(report))


def _first_short(short: Sequence[Short], reward: str) -> str:
    first = short[0]
    score = "is not scored" if first.score is None else f"scores {first.score:.3g}"
    return f"the right answer of {first.place} {score} on `{reward}`: {first.reason}"


def _of(short: Sequence[Short], report: Report) -> str:
    return f" (and {len(short) - 1} more of {report.references.n})" if len(short) > 1 else ""


def _right(report: Report) -> str:
    total = report.references.total
    return f" ({total:.3g})" if total is not None else ""


def _level(facts: Facts) -> str:
    if not facts.n:
        return "nothing is scored"
    return f"all completions of a prompt score the same, {facts.mean:.3g} in the mean"
