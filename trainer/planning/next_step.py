"""What a person would do next, in one sentence, from the box and the runs. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.text import one_line

if TYPE_CHECKING:
    from trainer.devices.model import Snapshot
    from trainer.runs.model import RunSummary


def next_step(snapshot: Snapshot | None, runs: Sequence[RunSummary]) -> str:
    """One sentence that names the key or the command that comes next."""
    if not runs:
        return "no runs yet: 3 picks a recipe; `burnish demo` plays the whole job"
    newest = runs[0]
    live = [run for run in runs if run.live]
    if live and live[0].note:
        return f"{live[0].name}: {one_line(live[0].note)}"
    if live:
        return f"{live[0].name} is running: Enter opens it; you may leave, it goes on without you"
    if newest.state in ("failed", "killed", "lost") and newest.verdict:
        return f"{newest.name} {newest.state}: {one_line(newest.verdict.hint or newest.verdict.message)}"
    if newest.verdict and newest.verdict.kind == "stopped":
        return f"{newest.name} was stopped at step {newest.step}: Enter opens it, r resumes it"
    if snapshot is not None and any(
        gpu.memory and gpu.memory.used_gib < 0.1 * gpu.memory.total_gib for gpu in snapshot.gpus
    ):
        return f"{newest.name} is finished and a GPU is free: 3 picks the next recipe"
    return f"{newest.name} is finished: its result lies in {newest.path}/adapter"
