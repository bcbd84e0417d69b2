"""Where a run's model comes from: a base, and the adapter of the run that it goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ModelError
from trainer.runs.folder import RunFolder
from trainer.runs.registry import find, summary

PREFIX = "run:"


@dataclass(frozen=True)
class Lineage:
    """What `model.base` stands for. The adapter, where there is one, goes on: it is trained further, not stacked."""

    base: str  # pocket, a hub id or a folder
    adapter: Path | None = None
    parent: str | None = None  # id of the run
    lora: dict[str, Any] | None = None  # the recipe block that the adapter was made by
    method: str = ""  # of the parent


def resolve(base: str, home: Path | None = None) -> Lineage:
    """The lineage of a recipe's `model.base`. Raises RunError for no such run, ModelError for one without a result."""
    if not base.startswith(PREFIX):
        return Lineage(base)
    run = find(base.removeprefix(PREFIX), home)
    record, now = run.record(), summary(run)
    if now.live or not _has_result(run):
        state = "is not finished yet" if now.live else f"is {now.state} and left no result"
        raise ModelError(
            f"model.base: {run.id} {state}", "`burnish runs` lists the runs; wait for it or `burnish resume` it"
        )
    model = record["recipe"]["model"]
    method = str(record["method"])
    if model["tuning"] == "full":
        return Lineage(str(run.adapter), parent=run.id, method=method)
    # `base` in the record is what the run's own base came to: its parent may have been deleted since.
    below = record.get("base") or resolve(model["base"], home).base
    return Lineage(below, run.adapter, run.id, model["lora"], method)


def _has_result(run: RunFolder) -> bool:
    return any(run.adapter.glob("*.safetensors"))
