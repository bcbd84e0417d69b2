"""Which rows are held out, and which are kept where there are too many: by a seed, in the order of the file."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

Rows = list[dict[str, Any]]


def hold_out(rows: Rows, fraction: float, seed: int, by_prompt: bool) -> tuple[Rows, Rows]:
    """`rows` as those to train on and `fraction` held out; `by_prompt` keeps rows of one prompt on one side."""
    groups = _groups_by_prompt(rows) if by_prompt else range(len(rows))
    total = len(set(groups))
    count = min(max(round(total * fraction), 1), total - 1) if fraction and total > 1 else 0
    chosen = set(random.Random(seed).sample(range(total), count))
    train = [row for row, group in zip(rows, groups, strict=True) if group not in chosen]
    return train, [row for row, group in zip(rows, groups, strict=True) if group in chosen]


def at_most(rows: Rows, limit: int | None, seed: int) -> Rows:
    """`limit` of `rows` at most."""
    if limit is None or len(rows) <= limit:
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))
    return [rows[index] for index in chosen]


def shuffled(rows: Rows, seed: int) -> Rows:
    return random.Random(seed).sample(rows, len(rows))


def _groups_by_prompt(rows: Rows) -> Sequence[int]:
    """The number of each row's prompt, by first appearance."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(json.dumps(row["prompt"], sort_keys=True), len(numbers)) for row in rows]
