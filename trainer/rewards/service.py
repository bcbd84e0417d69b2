"""Scoring for the trainer: every reward runs in one process that may be killed, so that none can hang or end a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from recipes.rewards import Function, PythonTests, Reward, RewardBlock, column
from trainer.rewards.check import check_rewards as check_rewards  # a door of this module
from trainer.rewards.process import HostDied, HostProcess, HostTimeout
from trainer.rewards.score import Failure, FailureKind, RewardError, Score

_LOAD_S = 120.0  # a user's file may import torch
_GRACE_S = 5.0  # the sandbox keeps the time itself, and is killed only where it does not
_THREADS = min(len(os.sched_getaffinity(0)), 4)


@dataclass(frozen=True)
class _Failed:
    kind: FailureKind
    message: str
    seconds: float


@dataclass(frozen=True)
class _Scored:
    score: Score
    seconds: float


_Outcome = _Failed | _Scored


@dataclass(frozen=True)
class _Batch:
    """What one call of `score` is about."""

    name: str
    block: Any
    prompts: Sequence[str]
    completions: Sequence[str]
    columns: Mapping[str, Sequence[Any]]

    def request(self, rows: Sequence[int]) -> dict[str, Any]:
        return {
            "score": self.name,
            "prompts": [self.prompts[row] for row in rows] if isinstance(self.block, Function) else [],
            "completions": [self.completions[row] for row in rows],
            "columns": {name: [values[row] for row in rows] for name, values in self.columns.items()},
        }


class RewardService:
    """Scores completions by the rewards of a recipe. The process starts with the first call, and anew after a kill.

    For one thread at a time. `report` hears of every attempt that failed.
    """

    def __init__(self, rewards: Mapping[str, Reward], report: Callable[[Failure], None]) -> None:
        self._rewards = rewards
        self._report = report
        self._host: HostProcess | None = None
        self._times: dict[str, list[float]] = {}

    def __enter__(self) -> RewardService:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the process, if one runs."""
        if self._host is not None:
            self._host.kill()
            self._host = None

    def last_times(self, name: str) -> list[float]:
        """The seconds that each completion of the last call took, its failed attempts included."""
        return self._times.get(name, [])

    def score(
        self, name: str, prompts: Sequence[str], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        """One score a completion, in order. Raises RewardError where one fails and `on_error` is `stop`."""
        block = self._rewards[name]
        batch = _Batch(name, block, prompts, completions, _needed(block, columns))
        width = _width(block, len(completions))
        lost = self._load(batch)
        done = [] if lost is None else [_Scored(_given_up(batch, lost), 0.0) for _ in completions]
        for start in range(len(done), len(completions), width):
            done += self._score_rows(batch, range(start, min(start + width, len(completions))))
        self._times[name] = [one.seconds for one in done]
        return [one.score for one in done]

    def _load(self, batch: _Batch) -> _Failed | None:
        """Have the reward ready. What it cannot be loaded for is no completion's fault, and is not tried with each."""
        attempt, attempts = 1, batch.block.retries + 1
        while isinstance(lost := self._ready(batch), _Failed):
            self._tell(batch, lost, "", attempt, attempts)
            if attempt >= attempts:
                return lost
            attempt += 1
        return None

    def _score_rows(self, batch: _Batch, rows: range) -> list[_Scored]:
        """Several at once; those that fail, or all where the call as a whole does, are then tried one by one."""
        if len(rows) == 1:
            return [self._insist(batch, rows[0], 1, batch.block.retries + 1, 0.0)]
        # One bad completion must not cost the others their score: each is tried alone, without retries too.
        attempts = 1 + max(batch.block.retries, 1)
        answer = self._ask(batch, rows)
        if isinstance(answer, _Failed):
            told = _Failed(answer.kind, f"a batch of {len(rows)}: {answer.message}", answer.seconds)
            self._tell(batch, told, "", 1, attempts)
            return [self._insist(batch, row, 2, attempts, answer.seconds / len(rows)) for row in rows]
        done = []
        for row, outcome in zip(rows, answer, strict=True):
            if isinstance(outcome, _Failed):
                self._tell(batch, outcome, batch.completions[row], 1, attempts)
                outcome = self._insist(batch, row, 2, attempts, outcome.seconds)
            done.append(outcome)
        return done

    def _insist(self, batch: _Batch, row: int, attempt: int, attempts: int, seconds: float) -> _Scored:
        """The score of one completion, tried from `attempt` up to `attempts`; after that what `on_error` says."""
        while True:
            answer = self._ask(batch, [row])
            outcome = answer if isinstance(answer, _Failed) else answer[0]
            seconds += outcome.seconds
            if isinstance(outcome, _Scored):
                return _Scored(outcome.score, seconds)
            self._tell(batch, outcome, batch.completions[row], attempt, attempts)
            if attempt >= attempts:
                return _Scored(_given_up(batch, outcome), seconds)
            attempt += 1

    def _ask(self, batch: _Batch, rows: Sequence[int]) -> list[_Outcome] | _Failed:
        """One call of the process: an outcome for each row, or what the call failed of."""
        host = self._ready(batch)
        if isinstance(host, _Failed):
            return host
        begin = time.perf_counter()
        try:
            answer = host.ask(batch.request(rows), _allowed(batch.block, len(rows)))
        except HostTimeout as error:
            return _Failed("timeout", str(error), time.perf_counter() - begin)
        except HostDied as error:
            return _Failed("died", str(error), time.perf_counter() - begin)
        if "failure" in answer:
            return _failed(answer["failure"], time.perf_counter() - begin)
        return [_outcome(item) for item in answer["items"]]

    def _ready(self, batch: _Batch) -> HostProcess | _Failed:
        """A process that lives and has the reward loaded, or what that failed of."""
        try:
            if self._host is None or not self._host.alive:
                self.close()
                self._host = HostProcess()
            if batch.name not in self._host.loaded:
                answer = self._host.ask({"load": batch.name, "reward": batch.block.model_dump()}, _LOAD_S)
                if "failure" in answer:
                    return _failed(answer["failure"], 0.0)
                self._host.loaded.add(batch.name)
        except HostTimeout as error:
            return _Failed("timeout", f"loading it: {error}", _LOAD_S)
        except (HostDied, OSError) as error:
            return _Failed("died", f"loading it: {error}", 0.0)
        return self._host

    def _tell(self, batch: _Batch, failed: _Failed, completion: str, attempt: int, attempts: int) -> None:
        self._report(Failure(batch.name, failed.kind, failed.message, completion, attempt, attempt >= attempts))


def _needed(block: RewardBlock, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    if isinstance(block, Function):
        return columns
    return {name: values for name, values in columns.items() if name == column(block)}


def _width(block: RewardBlock, completions: int) -> int:
    """Completions of one call: a function may compare a batch, tests wait in threads, others go one by one."""
    if isinstance(block, Function):
        return max(completions, 1)
    return _THREADS if isinstance(block, PythonTests) else 1


def _allowed(block: RewardBlock, completions: int) -> float:
    return block.timeout_s * completions + (_GRACE_S if isinstance(block, PythonTests) else 0.0)


def _outcome(item: dict[str, Any]) -> _Outcome:
    if "failure" in item:
        return _failed(item["failure"], item["seconds"])
    return _Scored(Score(item["score"], item["reason"]), item["seconds"])


def _failed(told: tuple[FailureKind, str], seconds: float) -> _Failed:
    kind, message = told
    return _Failed(kind, message, seconds)


def _given_up(batch: _Batch, failed: _Failed) -> Score:
    """The score of what could not be scored. Raises RewardError where that is to stop the run."""
    if batch.block.on_error == "stop":
        hint = f"Correct the reward, or set `rewards.{batch.name}.on_error` to `skip` or `zero`."
        raise RewardError(f"`{batch.name}` could not score a completion: {failed.message}", hint)
    return Score(0.0 if batch.block.on_error == "zero" else None, failed.message)
