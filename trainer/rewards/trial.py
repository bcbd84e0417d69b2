"""A trial of a recipe's rewards: right answers, probes and completions are scored as in a run, and reported on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recipes.rewards import Reward, RewardModel
from recipes.schema import Recipe
from trainer.errors import DatasetError
from trainer.rewards.completions import Completion, Source, Task
from trainer.rewards.findings import findings, serious, verdict
from trainer.rewards.probes import Probe, probes
from trainer.rewards.report import Finding, Report, Scored, report
from trainer.rewards.score import Failure
from trainer.rewards.service import RewardService, check_rewards
from trainer.rewards.testable import require_testable

REFERENCES = "the right answers of the data"
_CHARACTERS = 4  # of a token, about


@dataclass(frozen=True)
class Trial:
    """A report with what is behind it."""

    report: Report
    findings: list[Finding]
    verdict: str
    completions: Scored
    references: Scored
    probes: list[tuple[Probe, Scored]]

    @property
    def serious(self) -> bool:
        """Whether a run with these rewards should not be started."""
        return serious(self.findings)

    def as_object(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict,
            **self.report.as_object(),
            "findings": [asdict(finding) for finding in self.findings],
        }


def rollout_of(recipe: Recipe) -> Any:
    """The block of the recipe that says how completions are drawn."""
    return getattr(recipe, recipe.method)


def try_rewards(recipe: Recipe, tasks: Sequence[Task], source: Source | None = None) -> Trial:
    """Score the right answers of `tasks`, probes on them, and completions; without `source` the right answers are those.

    Raises InputError where the rewards cannot be tested or do not fit the rows.
    """
    require_testable(recipe)
    if not tasks:
        raise DatasetError("there is no prompt to test the rewards on", "give data or completions with prompts")
    rewards = {
        # A test that stopped at the first failure could not tell how many there are.
        name: reward.model_copy(update={"on_error": "skip"}) if reward.on_error == "stop" else reward
        for name, reward in recipe.rewards.items()
        if not isinstance(reward, RewardModel)
    }
    every = [*tasks, *(one.task for one in source.completions)] if source else tasks
    check_rewards(rewards, {name for task in every for name in task.columns})
    failures: list[Failure] = []
    with RewardService(rewards, failures.append) as service:
        right = [Completion(task, at, task.reference) for at, task in enumerate(tasks) if task.reference is not None]
        references = _scored(service, rewards, failures, right)
        tricks = probes(rewards, tasks, _CHARACTERS * rollout_of(recipe).max_completion_length)
        tried = [(probe, _scored(service, rewards, failures, probe.completions)) for probe in tricks]
        completions = _scored(service, rewards, failures, source.completions) if source else references
    left_out = [name for name in recipe.rewards if name not in rewards]
    told = source.told if source else REFERENCES
    made = report(recipe.name, told, rewards, completions, references, tried, left_out)
    return Trial(made, findings(made), verdict(made), completions, references, tried)


def _scored(
    service: RewardService, rewards: Mapping[str, Reward], failures: list[Failure], completions: Sequence[Completion]
) -> Scored:
    prompts, texts = [one.task.text for one in completions], [one.text for one in completions]
    names = dict.fromkeys(name for one in completions for name in one.task.columns)
    columns = {name: [one.task.columns.get(name) for one in completions] for name in names}
    failures.clear()
    scores = {name: service.score(name, prompts, texts, columns) if texts else [] for name in rewards}
    failed = Counter(failure.reward for failure in failures if failure.final)
    seconds = {name: service.last_times(name) if texts else [] for name in rewards}
    return Scored(completions, scores, seconds, {name: failed[name] for name in rewards})
