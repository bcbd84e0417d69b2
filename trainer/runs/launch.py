"""A recipe becomes a run: its folder is made, and a supervisor takes it over. Nothing here waits for training."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.errors import LaunchError, RunError
from trainer.runs import warm
from trainer.runs.folder import RunFolder
from trainer.runs.registry import is_locked, summary
from trainer.runs.supervisor import BUSY

_UP_S = 30.0


def launch(
    *,
    name: str,
    method: str,
    recipe: dict[str, Any],
    origins: dict[str, str],
    command: Sequence[str],
    home: Path | None = None,
    parent: str | None = None,
    facts: dict[str, Any] | None = None,
) -> RunFolder:
    """A new run under a supervisor of its own, in a warm trainer where one waits. Returns when the lock is held.

    `recipe` is the recipe as plain data, `facts` more keys for `run.json`. Raises RunError for a bad name, LaunchError
    where no supervisor came up.
    """
    run = RunFolder.create(
        home, name=name, method=method, recipe=recipe, origins=origins, command=command, parent=parent, facts=facts
    )
    if warm.claim(run, home) and _is_up(run):
        return run
    _start_supervisor(run)
    return run


def resume(run: RunFolder) -> None:
    """Go on from the run's newest whole checkpoint. Raises RunError where the run is live or has no checkpoint."""
    if summary(run).live:
        raise RunError(f"{run.id} is still running", f"`burnish watch {run.id}` shows it; stop it first to resume")
    if run.latest_checkpoint() is None:
        raise RunError(
            f"{run.id} has no whole checkpoint to resume from", "launch it again; training.save_steps saves earlier"
        )
    _start_supervisor(run, "--resume")


def _start_supervisor(run: RunFolder, *more: str) -> None:
    command = [sys.executable, "-P", "-m", "trainer.runs.supervisor", str(run.path), *more]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_UP_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"no supervisor came up for {run.id}: {error}", f"look into {run.console}") from error
    if done.returncode == BUSY:
        raise RunError(f"{run.id} is being started by someone else", "`burnish runs` shows it")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise LaunchError(
            f"the supervisor of {run.id} ended at once: {said[-1] if said else 'no message'}",
            f"look into {run.console}",
        )


def _is_up(run: RunFolder) -> bool:
    """Whether a claimed supervisor took the run; one that died in between leaves the run to a fresh one."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if is_locked(run) or run.proc.exists():
            return True
        time.sleep(0.01)
    return False
