"""The statistics and the findings of a trial, on scores that are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from pydantic import TypeAdapter

from recipes.rewards import Reward
from trainer.rewards.completions import Completion, Task
from trainer.rewards.findings import findings, serious, verdict
from trainer.rewards.probes import Probe
from trainer.rewards.report import Report, Scored, disagreements, facts, report
from trainer.rewards.score import Score

KINDS = {
    "correct": {"kind": "numeric"},
    "format": {"kind": "json", "weight": 0.5},
    "length": {"kind": "length", "weight": 0.2},
    "mine": {"kind": "function", "file": "mine.py"},
    "check": {"kind": "match", "weight": 0.0},
}


def rewards(*names: str) -> dict[str, Reward]:
    return {name: TypeAdapter(Reward).validate_python(KINDS[name]) for name in names}


def said(count: int, group: int = 1, texts: Sequence[str] = ()) -> list[Completion]:
    """So many completions, `group` of each prompt."""
    return [
        Completion(Task(f"rows.jsonl:{at // group + 1}", "?", {}), at // group, texts[at] if texts else f"text {at}")
        for at in range(count)
    ]


def scored(given: Mapping[str, Sequence[float | None]], group: int = 1, texts: Sequence[str] = ()) -> Scored:
    count = len(next(iter(given.values())))
    return Scored(
        said(count, group, texts),
        {name: [Score(value, f"{name} says {value}") for value in values] for name, values in given.items()},
        {name: [0.25 * (at + 1) for at in range(count)] for name in given},
        dict.fromkeys(given, 0),
    )


def told(
    blocks: Mapping[str, Reward],
    completions: Scored,
    references: Scored,
    probe: Scored | None = None,
    honest: bool = False,
) -> Report:
    tried = [(Probe("trick", "do this", list(probe.completions), honest), probe)] if probe else []
    return report("mine", "a test", blocks, completions, references, tried)


def kinds(made: Report, severity: str) -> list[str]:
    return [finding.kind for finding in findings(made) if finding.severity == severity]


def test_facts_are_those_of_the_scores_and_their_groups() -> None:
    found = facts([0.0, 1.0, 1.0, 1.0, None, 0.5], said(6, 2, ["a", "aaa", "aaa", "aaa", "a" * 99, "aa"]))
    assert (found.n, found.min, found.max) == (5, 0.0, 1.0)
    assert found.mean == pytest.approx(0.7) and found.std == pytest.approx(0.447, abs=1e-3)
    assert found.zero_variance_share == 0.5  # the third group has one score left, which is compared with nothing
    assert found.length_correlation == pytest.approx(1.0)


@pytest.mark.parametrize("values", [[], [None, None], [1.0], [0.5, 0.5]])
def test_what_cannot_be_told_is_none(values: list[float | None]) -> None:
    found = facts(values, said(len(values)))
    assert found.zero_variance_share is None and found.length_correlation is None
    assert (found.std is None) == (found.n < 2) and (found.mean is None) == (found.n == 0)


def test_the_total_is_weighted_and_leaves_out_what_was_not_scored() -> None:
    both = scored({"correct": [1.0, None, None], "format": [1.0, 1.0, None]})
    assert both.totals(rewards("correct", "format")) == [1.5, 0.5, None]


def test_rewards_that_disagree_are_told_with_the_completions() -> None:
    both = scored({"correct": [1.0, 0.0, 1.0, 0.5], "format": [0.0, 0.0, 0.0, 1.0], "length": [-1.0, 0.0, 0.0, 0.0]})
    found = {(one.high, one.low): one.at for one in disagreements(both, rewards("correct", "format", "length"))}
    # A penalty at its top only says that nothing was punished.
    assert found == {("correct", "format"): [0, 2], ("correct", "length"): [0]}
    constant = scored({"correct": [1.0, 1.0], "format": [0.0, 1.0]})
    assert disagreements(constant, rewards("correct", "format")) == []


def test_a_healthy_set_of_rewards_has_no_finding() -> None:
    blocks = rewards("correct", "format")
    made = told(
        blocks,
        scored({"correct": [0.0, 1.0, 1.0, 0.0], "format": [1.0, 0.0, 1.0, 0.0]}, group=2),
        scored({"correct": [1.0, 1.0], "format": [1.0, 1.0]}),
        scored({"correct": [0.0, 0.0], "format": [1.0, 1.0]}),
    )
    assert not serious(findings(made)) and kinds(made, "warn") == []
    words = "every reward has spread; right answers get full marks; no probe scores as well as a right answer"
    assert verdict(made) == words


def test_a_right_answer_without_full_marks_comes_first_and_is_serious() -> None:
    made = told(
        rewards("correct", "length"),
        scored({"correct": [0.0, 0.0], "length": [0.0, 0.0]}, group=2),
        scored({"correct": [1.0, 0.0, None], "length": [0.0, -0.5, 0.0]}),
    )
    first, *others = findings(made)
    assert first.severity == "stop" and first.about == "correct"
    assert first.message == (
        "the right answer of rows.jsonl:2 scores 0 on `correct`: correct says 0.0 (and 1 more of 3)"
    )
    assert [other.kind for other in others if other.severity == "stop"] == ["no-spread"]
    assert kinds(made, "warn") == ["right-answer"]  # too long for the penalty, which does not make it wrong
    assert verdict(made).startswith("the right answer of rows.jsonl:2 scores 0 on `correct`")


def test_a_reward_without_spread_teaches_nothing_and_none_with_spread_is_serious() -> None:
    right = scored({"correct": [1.0], "format": [1.0]})
    one = told(
        rewards("correct", "format"),
        scored({"correct": [0.0, 1.0, 1.0, 1.0], "format": [1.0, 1.0, 1.0, 1.0]}, group=2),
        right,
    )
    assert kinds(one, "warn") == ["no-spread"] and not serious(findings(one))
    assert verdict(one).startswith("1 of 2 rewards have spread, `format` has none and teaches nothing")
    none = told(
        rewards("correct", "format"),
        scored(
            {"correct": [0.0, 0.0, 1.0, 1.0], "format": [1.0, 1.0, 1.0, 1.0]}, group=2
        ),  # it differs between groups only
        right,
    )
    assert kinds(none, "stop") == ["no-spread"]


def test_a_check_of_weight_0_owes_no_spread() -> None:
    made = told(
        rewards("correct", "check"),
        scored({"correct": [0.0, 1.0], "check": [0.0, 0.0]}, group=2),
        scored({"correct": [1.0], "check": [1.0]}),
    )
    assert kinds(made, "warn") == [] and "has spread" in verdict(made)


def test_one_completion_a_prompt_says_nothing_of_spread() -> None:
    made = told(rewards("correct"), scored({"correct": [1.0, 1.0]}), scored({"correct": [1.0, 1.0]}))
    assert findings(made) == [] and "spread" not in verdict(made)


@pytest.mark.parametrize(("score", "pays"), [(1.0, True), (0.9, False), (None, False)])
def test_a_probe_that_pays_like_a_right_answer_is_an_exploit(score: float | None, pays: bool) -> None:
    right = scored({"mine": [1.0, 1.0, 0.2]})  # the median counts: of a function nobody knows the full marks
    made = told(rewards("mine"), right, right, scored({"mine": [score, score]}))
    assert made.probes[0].exploits is pays
    assert ("exploit" in kinds(made, "stop")) is pays
    assert ("`trick` beats honest answers" in verdict(made)) is pays


def test_a_probe_that_takes_the_right_answer_is_a_habit_and_no_exploit() -> None:
    right = scored({"correct": [1.0]})
    made = told(rewards("correct"), right, right, scored({"correct": [1.0]}), honest=True)
    assert not made.probes[0].exploits and made.probes[0].repeats
    assert kinds(made, "info") == ["repetition"] and not serious(findings(made))


def test_probes_are_not_judged_where_right_answers_do_not_score() -> None:
    wrong = scored({"correct": [0.0]})
    made = told(rewards("correct"), wrong, wrong, scored({"correct": [0.0]}))
    assert not made.probes[0].exploits and "probe" not in verdict(made)


def test_without_right_answers_full_marks_are_the_bar() -> None:
    none = scored({"correct": []})
    given = scored({"correct": [0.0, 1.0]}, group=2)
    assert told(rewards("correct"), given, none, scored({"correct": [1.0]})).probes[0].exploits
    assert not told(rewards("correct"), given, none, scored({"correct": [0.0]})).probes[0].exploits
    nobody_knows = scored({"mine": []})
    assert (
        not told(rewards("mine"), scored({"mine": [0.0, 1.0]}), nobody_knows, scored({"mine": [1.0]}))
        .probes[0]
        .exploits
    )


def test_failed_calls_and_a_reward_that_follows_length_are_told() -> None:
    texts = ["a" * (at + 1) for at in range(16)]
    given = scored({"mine": [at / 10 for at in range(16)]}, group=4, texts=texts)
    given = Scored(given.completions, given.scores, given.seconds, {"mine": 3})
    made = told(rewards("mine"), given, scored({"mine": [2.0]}))
    assert kinds(made, "warn") == ["errors", "length"]
    assert made.rewards[0].errors == 3 and made.rewards[0].seconds["slowest"] == 4.0
    assert [slow.seconds for slow in made.slowest] == [4.0, 3.75, 3.5, 3.25, 3.0]


def test_as_an_object_it_has_what_the_command_promises() -> None:
    right = scored({"correct": [1.0]})
    made = told(rewards("correct"), scored({"correct": [0.0, 1.0]}, group=2), right, right).as_object()
    (one,) = made["rewards"]
    promised = {
        "name",
        "mean",
        "std",
        "min",
        "max",
        "n",
        "zero_variance_share",
        "length_correlation",
        "errors",
        "seconds",
    }
    assert promised <= one.keys() and one["zero_variance_share"] == 0.0
    assert {"recipe", "source", "n", "total", "disagreements", "probes", "slowest", "references"} <= made.keys()
    assert {"name", "scores", "total", "exploits"} <= made["probes"][0].keys()
