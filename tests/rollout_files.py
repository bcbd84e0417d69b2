"""Runs with rollouts as TRL's GRPOTrainer leaves them: one parquet file a logged step, written as its pandas does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.runs.folder import RunFolder, RunStatus

REWARDS = {"correct": {"kind": "numeric"}, "short": {"kind": "length", "weight": 0.5}}


def run_by_rewards(home: Path, generations: int = 2, rewards: Mapping[str, Any] = REWARDS) -> RunFolder:
    """A finished grpo run that has logged nothing yet."""
    recipe = {"name": "grpo-lora", "grpo": {"num_generations": generations}, "rewards": dict(rewards)}
    run = RunFolder.create(home, name="told", method="grpo", recipe=recipe, origins={}, command=["x"])
    run.write_status(RunStatus("finished", step=100_000))
    return run


def file_of(run: RunFolder, step: int) -> Path:
    return run.checkpoints / "completions" / f"completions_{step:05d}.parquet"


def log_step(run: RunFolder, step: int, rows: Sequence[tuple[Any, Any, float | None, float | None]]) -> None:
    """Log rows of (prompt, completion, correct, short) at a step; advantages fall from 0 row by row."""
    file = file_of(run, step)
    file.parent.mkdir(exist_ok=True)
    pd.DataFrame(
        {
            "step": [step] * len(rows),
            "prompt": [row[0] for row in rows],
            "completion": [row[1] for row in rows],
            "correct": [float("nan") if row[2] is None else row[2] for row in rows],
            "short": [float("nan") if row[3] is None else row[3] for row in rows],
            "reason:correct": [f"{row[1]} against the answer" if row[2] is not None else None for row in rows],
            "reason:short": ["" for _ in rows],
            "advantage": [-float(index) for index in range(len(rows))],
        }
    ).to_parquet(file)
