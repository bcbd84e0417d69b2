"""What scoring gives: a score with its reason, or a failure that is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recipes.errors import BurnishError
from trainer.text import one_line

FailureKind = Literal["raised", "timeout", "not-a-number", "wrong-length", "died"]


@dataclass(frozen=True)
class Score:
    """The score of one completion. None: not scored, for it failed or the row lacks the column."""

    score: float | None
    reason: str


@dataclass(frozen=True)
class Failure:
    """One attempt that failed. `final`: no other follows, and the reward's `on_error` decides.

    `completion` is empty where a whole batch failed: which one is to blame shows when they are tried one by one.
    """

    reward: str
    kind: FailureKind
    message: str
    completion: str
    attempt: int
    final: bool


class RewardError(BurnishError):
    """A completion could not be scored, and the reward says `on_error: stop`."""

    title = "Reward failed"
    verdict_kind = "reward"


def short(value: object, width: int = 80) -> str:
    """A value as one line for a reason: clean and cut."""
    return one_line(str(value).strip(), width)
