"""What rewards are tested on: prompts of the recipe's data, and completions from a file, from a run, or freshly drawn."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from recipes.loading import from_record
from recipes.schema import Recipe
from trainer.datasets.reading import Row, read_rows
from trainer.datasets.sampling import at_most
from trainer.datasets.splits import Count, converted, layout_of
from trainer.datasets.turns import text_of
from trainer.errors import DatasetError, RunError
from trainer.pocket import cache
from trainer.pocket.world import World
from trainer.rewards.references import reference
from trainer.runs.folder import RunFolder
from trainer.runs.rollouts import Group, RolloutReader
from trainer.text import one_line

PROMPTS = 16  # that rewards are tested on, where nothing else is said
_GENERATIONS = 8
_ROWS = 100_000  # rows of the data that prompts are taken from
_FROM_RUN = 256  # completions of a run that are scored, the newest
_GROUPS = 100_000  # more than a step has
_POCKET_TASKS = {"train": 4000, "validation": 0, "test": 0}


@dataclass(frozen=True)
class Task:
    """A prompt with what its completions are judged by. `reference` is what a perfect model would say, where known."""

    place: str  # FILE:LINE
    prompt: Any  # text or turns
    columns: Mapping[str, Any]
    reference: str | None = None

    @property
    def text(self) -> str:
        """The prompt as rewards are given it."""
        return text_of(self.prompt)


@dataclass(frozen=True)
class Completion:
    """What was said to a prompt. Those of one `group` are compared with each other, as in a run."""

    task: Task
    group: int
    text: str


@dataclass(frozen=True)
class Source:
    """Completions and where they come from, in words."""

    told: str
    completions: list[Completion]

    def tasks(self, limit: int) -> list[Task]:
        """The first prompts that were completed, each once."""
        return list({each.task.text: each.task for each in self.completions}.values())[:limit]


def tasks_of(recipe: Recipe, home: Path | None = None) -> list[Task]:
    """The prompts of the recipe's training rows, its first 100,000. Raises DatasetError."""
    if recipe.data.train != "pocket":
        return list(islice(_tasks_in(Path(recipe.data.train).expanduser(), recipe), _ROWS))
    if cache.is_built(home):
        return list(_tasks_in(cache.folder(home) / "train.jsonl", recipe))
    with tempfile.TemporaryDirectory(prefix="burnish-") as folder:  # the rows need no model: they are made at once
        cache.write_rows(Path(folder), World(), _POCKET_TASKS)
        return list(_tasks_in(Path(folder) / "train.jsonl", recipe))


def drawn_from(tasks: Sequence[Task], limit: int, seed: int) -> list[Task]:
    """`limit` of the prompts at most, by the seed, in the order of the file."""
    return [tasks[row["at"]] for row in at_most([{"at": at} for at in range(len(tasks))], limit, seed)]


def from_file(path: Path, tasks: Sequence[Task]) -> Source:
    """Completions of a file: each row has a prompt and a completion or several `completions`; its other columns go
    before those of the row of the data that has the same prompt. Raises DatasetError."""
    known = _by_prompt(tasks)
    found: list[Completion] = []
    groups: dict[str, int] = {}
    for row in read_rows(path):
        prompt, said = _said_in(row)
        text = text_of(prompt)
        like = known.get(text)
        own = {name: value for name, value in row.fields.items() if name not in ("prompt", "completion", "completions")}
        columns = {**(like.columns if like else {}), **own}
        task = Task(row.place, prompt, columns, like.reference if like else None)
        group = groups.setdefault(text, len(groups))
        found += [Completion(task, group, text_of(each)) for each in said]
    if not found:
        raise DatasetError(f"{path} has no completions", 'its rows are {"prompt": …, "completion": …}')
    return Source(f"{path}", found)


def from_run(run: RunFolder, home: Path | None = None) -> Source:
    """The newest completions that a run logged, with the columns of its own data. Raises RunError, DatasetError."""
    reader = RolloutReader(run)
    newest, _ = reader.newest()
    known = _by_prompt(tasks_of(from_record(run.record()["recipe"]), home))
    found: list[Completion] = []
    steps: list[int] = []
    for step in reversed([step for step in reader.steps() if step <= newest]):
        if len(found) >= _FROM_RUN:
            break
        with contextlib.suppress(RunError):  # a torn step; the newest whole one was read above
            for group in reader.groups(step):
                task = _known(group, known, run)
                number = step * _GROUPS + group.index
                found += [Completion(task, number, rollout.completion) for rollout in group.rollouts]
            steps.append(step)
    span = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[-1]} to {steps[0]}"
    return Source(f"rollouts of {run.id}, {span}", found)


def _known(group: Group, known: Mapping[str, Task], run: RunFolder) -> Task:
    task = known.get(group.prompt) or known.get(group.asked)
    if task is None:
        raise DatasetError(
            f"a prompt of {run.id} is not in its data any more: {one_line(group.asked, 80)}",
            "the data was changed since: give the completions with their columns by --completions",
        )
    return task


def generations_of(recipe: Recipe) -> int:
    """Completions that are drawn of a prompt: a group of the recipe's, 8 at most."""
    return min(int(getattr(recipe, recipe.method).num_generations), _GENERATIONS)


def sampled(recipe: Recipe, tasks: Sequence[Task], texts: Sequence[Sequence[str]]) -> Source:
    """Freshly drawn completions, some of each prompt."""
    found = [
        Completion(task, group, text)
        for group, (task, several) in enumerate(zip(tasks, texts, strict=True))
        for text in several
    ]
    return Source(f"fresh, of {len(tasks)} prompts, by {recipe.model.base}", found)


def _tasks_in(path: Path, recipe: Recipe) -> Iterator[Task]:
    layout = layout_of(path, recipe.data, recipe.method)
    for row, example in converted(path, layout, recipe.data, Count()):
        columns = {name: value for name, value in example.items() if name != "prompt"}
        said = reference(row.fields, layout, columns, recipe.rewards)
        yield Task(f"{row.path.name}:{row.line}", example["prompt"], columns, said)


def _said_in(row: Row) -> tuple[Any, Sequence[Any]]:
    """The prompt and the completions of a row. Raises DatasetError."""
    fields = row.fields
    prompt, said = fields.get("prompt"), fields.get("completions", [fields.get("completion")])
    if not _is_text(prompt) or not isinstance(said, list) or not all(map(_is_text, said)):
        raise DatasetError(
            f"{row.place} has no prompt and completion",
            'rows are {"prompt": …, "completion": …} or {"prompt": …, "completions": […]}, as text or messages',
        )
    return prompt, said


def _is_text(value: Any) -> bool:
    """Whether a value is text or messages; an empty completion is one, too."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(turn, dict) for turn in value))


def _by_prompt(tasks: Iterable[Task]) -> dict[str, Task]:
    """Tasks by every text that a prompt is known by: of all its turns, of its turns with roles, of its last turn."""
    known: dict[str, Task] = {}
    last: dict[str, Task] = {}
    for task in tasks:
        known.setdefault(task.text, task)
        if not isinstance(task.prompt, str):
            labelled = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in task.prompt)
            known.setdefault(labelled, task)
            last.setdefault(str(task.prompt[-1]["content"]), task)
    return {**last, **known}
