"""A run is a folder: where its files are, how it is made, its record and its status. Standard library only."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import RunError
from trainer.home import burnish_home
from trainer.runs.model import State

COMPLETE = "complete.json"  # written into a checkpoint last of all: without it the checkpoint is torn
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class RunStatus:
    """The newest state of a run, for lists; the events are the truth."""

    state: State
    phase: str = ""
    step: int = 0
    total_steps: int | None = None
    loss: float | None = None
    eta_s: float | None = None
    note: str = ""
    attempt: int = 1
    metrics: dict[str, float | None] = field(default_factory=dict)
    verdict: dict[str, Any] | None = None
    started_at: float | None = None
    ended_at: float | None = None
    updated_at: float = 0.0


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def proc(self) -> Path:
        return self.path / "proc.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def kill_note(self) -> Path:
        """Who asked to kill the trainer at once: tells that killing from any other."""
        return self.control / "killed-by"

    @property
    def adapter(self) -> Path:
        """The result: the adapter, or the whole model after full tuning."""
        return self.path / "adapter"

    @classmethod
    def create(
        cls,
        home: Path | None = None,
        *,
        name: str,
        method: str,
        recipe: dict[str, Any],
        origins: dict[str, str],
        command: Sequence[str],
        parent: str | None = None,
        facts: dict[str, Any] | None = None,
    ) -> RunFolder:
        """A new run folder under `home` with its `run.json`. Raises RunError for a name that is no plain name."""
        check_name(name)
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        path = runs_home(home) / f"{stamp}-{name}-{secrets.token_hex(2)}"
        record = {
            "v": 1,
            "id": path.name,
            "name": name,
            "method": method,
            "created_at": now,
            "recipe": recipe,
            "origins": origins,
            "command": list(command),
            "cwd": str(Path.cwd()),
            "parent": parent,
            **(facts or {}),
        }
        path.mkdir(parents=True)
        run = cls(path)
        for folder in (run.control, run.checkpoints):
            folder.mkdir()
        write_json(run.run_json, record)
        return run

    def record(self) -> dict[str, Any]:
        """The content of `run.json`. Raises RunError where the folder is no run."""
        try:
            record = dict(json.loads(self.run_json.read_text()))
            if missing := {"name", "method", "created_at"} - record.keys():
                raise ValueError(f"run.json lacks {', '.join(sorted(missing))}")
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{self.path} is not a run folder: {error}", "`burnish runs` lists the runs") from error
        return record

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written whole, None where there is none."""
        whole = [marker.parent for marker in self.checkpoints.glob(f"checkpoint-*/{COMPLETE}")]
        return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    def read_status(self) -> RunStatus | None:
        """The last status, None where there is none yet."""
        data = read_json(self.status)
        known = RunStatus.__dataclass_fields__
        return RunStatus(**{key: value for key, value in data.items() if key in known}) if data else None

    def write_status(self, status: RunStatus) -> None:
        """Replace the status atomically."""
        write_json(self.status, {**asdict(status), "updated_at": time.time()})


def runs_home(home: Path | None = None) -> Path:
    """Where the run folders are."""
    return (home or burnish_home()) / "runs"


def check_name(name: str) -> None:
    """Raises RunError unless `name` can be a part of a folder's name and of nothing else."""
    if not _NAME.fullmatch(name):
        raise RunError(
            f"`{name}` cannot be the name of a run", "letters, digits, dot, dash and underscore, 64 at most, no slash"
        )


def write_json(path: Path, data: Any) -> None:
    """Replace `path` atomically."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w") as out:
            json.dump(data, out, indent=1)
            out.write("\n")
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, None where there is none or it is torn."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
