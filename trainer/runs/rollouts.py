"""What a run by rewards generated, step by step: groups of completions with their scores, as TRL logs them.

A logged step is one parquet file under `checkpoints/completions/`, with the rows of the last batch that was generated.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from trainer.errors import RunError
from trainer.runs.folder import RunFolder

Sort = Literal["position", "reward", "advantage"]
SORTS: tuple[Sort, ...] = ("position", "reward", "advantage")

_FILE = re.compile(r"completions_(\d+)\.parquet")
_REASON = "reason:"  # columns that our rewards log beside the score
_KEPT = 8  # steps whose groups stay in memory


@dataclass(frozen=True)
class Rollout:
    """One completion and what it was given. `total` is the weighted sum of its rewards, None where nothing scored it."""

    completion: str
    rewards: dict[str, float | None]
    reasons: dict[str, str]
    advantage: float | None
    total: float | None


@dataclass(frozen=True)
class Group:
    """The completions of one prompt that were compared with each other. `asked` is the prompt's last message."""

    step: int
    index: int
    prompt: str
    asked: str
    rollouts: tuple[Rollout, ...]

    @property
    def totals(self) -> list[float]:
        """The totals of the completions that were scored."""
        return [rollout.total for rollout in self.rollouts if rollout.total is not None]

    @property
    def mean(self) -> float | None:
        return fmean(self.totals) if self.totals else None

    @property
    def spread(self) -> float:
        """Standard deviation of the totals, as TRL's `reward_std` is."""
        return stdev(self.totals) if len(self.totals) > 1 else 0.0

    @property
    def flat(self) -> bool:
        """Whether all totals are the same: then rloo and grpo learn nothing from the group."""
        return self.spread < 1e-6  # rewards are logged in single precision

    @property
    def lesson(self) -> str:
        """What the totals tell apart, in words."""
        if not self.totals:
            return "not scored"
        return "no variance" if self.flat else f"spread {self.spread:.3g}"


class Hit(NamedTuple):
    """Where a text was found: a step, and indexes into its groups and their completions."""

    step: int
    group: int
    rollout: int


def ordered(group: Group, by: Sort) -> list[int]:
    """The indexes of a group's completions in an order: as generated, or the best first and the unscored last."""
    if by == "position":
        return list(range(len(group.rollouts)))
    values = [rollout.total if by == "reward" else rollout.advantage for rollout in group.rollouts]
    return sorted(range(len(values)), key=lambda i: -math.inf if (value := values[i]) is None else value, reverse=True)


def why_none(run: RunFolder) -> str:
    """Why a run has no rollouts to show; empty where it has some. Raises RunError where the folder is no run."""
    record = run.record()
    if not record.get("recipe", {}).get("rewards"):
        return f"a {record['method']} run generates none: it learns from rows, not from rewards"
    try:
        with os.scandir(_folder(run)) as entries:
            if any(_FILE.fullmatch(entry.name) for entry in entries):
                return ""
    except FileNotFoundError:
        pass
    return "it has logged none yet"


class RolloutReader:
    """Reads the rollouts of one run, while it writes them too. One thread at a time may ask for `groups`."""

    def __init__(self, run: RunFolder) -> None:
        """Raises RunError where the folder is no run."""
        record = run.record()
        recipe = record.get("recipe", {})
        self.run = run
        self.torn: set[int] = set()  # steps whose file could not be read when it was last looked at
        self._size: int | None = recipe.get(record["method"], {}).get("num_generations")
        self._weights = {name: float(reward.get("weight", 1)) for name, reward in recipe.get("rewards", {}).items()}
        self._kept: OrderedDict[int, tuple[tuple[int, int], tuple[Group, ...]]] = OrderedDict()

    def steps(self) -> list[int]:
        """The steps with rollouts, the newest last. Lists one folder and opens no file."""
        try:
            with os.scandir(_folder(self.run)) as entries:
                found = sorted(int(match[1]) for entry in entries if (match := _FILE.fullmatch(entry.name)))
        except FileNotFoundError:
            return []
        status = self.run.read_status()
        if status is None or status.started_at is None:
            return found
        # A run that resumed goes back to a checkpoint: what an attempt before it logged beyond is not of this line.
        return [step for step in found if step <= status.step or self._is_newer(step, status.started_at)]

    def groups(self, step: int) -> tuple[Group, ...]:
        """The groups of one step. Raises RunError for a step without rollouts, and for a file that is torn or half
        written; a later look reads it anew."""
        try:
            stat = self._path(step).stat()
        except FileNotFoundError as error:
            raise RunError(f"{self.run.id} has no rollouts of step {step}", self._nearest(step)) from error
        stamp = (stat.st_mtime_ns, stat.st_size)  # an evaluation at a step replaces what training logged there
        if step not in self._kept or self._kept[step][0] != stamp:
            self._kept[step] = (stamp, self._read(step))
        self._kept.move_to_end(step)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[step][1]

    def newest(self) -> tuple[int, tuple[Group, ...]]:
        """The newest step that can be read, and its groups. Raises RunError where there is none, saying why."""
        for step in reversed(self.steps()):
            try:
                return step, self.groups(step)
            except RunError:  # being written: the one before is whole
                continue
        if why := why_none(self.run):
            raise RunError(f"{self.run.id} has no rollouts: {why}", "rloo, ppo and grpo log them at every logging step")
        raise RunError(
            f"no rollouts of {self.run.id} can be read: every file is torn", f"they are in {_folder(self.run)}"
        )

    def search(self, text: str, steps: Sequence[int] | None = None) -> Iterator[Hit]:
        """Where prompts, completions or reasons hold a text in any case, the newest step first. Steps whose file cannot
        be read are passed over and put into `torn`."""
        found = re.compile(re.escape(text), re.IGNORECASE).search
        for step in sorted(self.steps() if steps is None else steps, reverse=True):
            try:
                groups = self._read(step)
            except RunError:
                continue
            for group in groups:
                hits = [i for i, each in enumerate(group.rollouts) if any(map(found, _texts(each)))]
                if not hits and found(group.prompt):
                    hits = [0]
                yield from (Hit(step, group.index, i) for i in hits)

    def _read(self, step: int) -> tuple[Group, ...]:
        try:
            rows = list(self._rows(step))
        except Exception as error:  # a broken file makes Arrow raise nearly anything
            self.torn.add(step)
            raise RunError(
                f"the rollouts of step {step} cannot be read: the file is being written, or torn", str(error)
            ) from error
        self.torn.discard(step)
        return tuple(
            Group(step, index, same[0].prompt, same[0].asked, tuple(row.rollout for row in same))
            for index, same in enumerate(_grouped(rows, self._size))
        )

    def _rows(self, step: int) -> Iterator[_Row]:
        import pyarrow as pa
        from pyarrow import parquet

        with self._path(step).open("rb") as file:
            table = parquet.ParquetFile(file).read(use_threads=False)
        named = {field.name for field in table.schema if pa.types.is_floating(field.type)} - {"advantage"}
        for row in table.to_pylist():
            rewards = {name: _finite(value) for name, value in row.items() if name in named}
            reasons = {
                name.removeprefix(_REASON): str(value)
                for name, value in row.items()
                if name.startswith(_REASON) and value
            }
            scored = [self._weights.get(name, 1.0) * value for name, value in rewards.items() if value is not None]
            total = sum(scored) if scored else None
            rollout = Rollout(_text(row["completion"]), rewards, reasons, _finite(row["advantage"]), total)
            yield _Row(_text(row["prompt"]), _text(row["prompt"], last=True), rollout)

    def _path(self, step: int) -> Path:
        return _folder(self.run) / f"completions_{step:05d}.parquet"

    def _is_newer(self, step: int, than: float) -> bool:
        try:
            return self._path(step).stat().st_mtime >= than
        except FileNotFoundError:
            return False

    def _nearest(self, step: int) -> str:
        steps = self.steps()
        if not steps:
            return why_none(self.run)
        nearest = sorted(sorted(steps, key=lambda other: abs(other - step))[:2])
        return f"it logged {len(steps)} steps, {steps[0]} to {steps[-1]}; nearest: {', '.join(map(str, nearest))}"


class _Row(NamedTuple):
    prompt: str
    asked: str
    rollout: Rollout


def _folder(run: RunFolder) -> Path:
    return run.checkpoints / "completions"


def _grouped(rows: list[_Row], size: int | None) -> Iterator[list[_Row]]:
    """Neighbours of one prompt, `size` together: a prompt that was drawn twice in a row makes two groups."""
    for _, neighbours in groupby(rows, key=lambda row: row.prompt):
        same = list(neighbours)
        whole = size or len(same)
        cut = len(same) % whole  # the log holds a limited number of rows: what is cut is cut in front
        for start in range(cut - whole if cut else 0, len(same), whole):
            yield same[max(start, 0) : start + whole]


def _text(value: Any, last: bool = False) -> str:
    """A prompt or completion as text: as it is, or its messages, each under its role where there are several."""
    if not isinstance(value, list):
        return "" if value is None else str(value)
    messages = value[-1:] if last else value
    if len(messages) == 1:
        return _content(messages[0])
    return "\n\n".join(f"{message.get('role', '?')}: {_content(message)}" for message in messages)


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = " ".join(str(block.get("text") or f"({block.get('type')})") for block in content)
    calls = message.get("tool_calls")
    return "\n".join(part for part in (content, json.dumps(calls) if calls else "") if part)


def _texts(rollout: Rollout) -> list[str]:
    return [rollout.completion, *rollout.reasons.values()]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value + 0.0  # no -0
