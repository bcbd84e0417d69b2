"""Recipes on the tiny model, and runs worked off in this process: an attempt without the seconds of its imports."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.loading import Loaded, load
from recipes.schema import PREFERENCE, ROLLOUT, Recipe
from trainer.planning.places import made_whole
from trainer.runs.events import read_events
from trainer.runs.folder import RunFolder
from trainer.runs.model import Event

# One thread: two of them on a busy box wait for each other for seconds a step.
SMALL = (
    "training.per_device_train_batch_size=4",
    "training.gradient_accumulation_steps=1",
    "training.gradient_checkpointing=false",
    "training.max_length=128",
    "training.learning_rate=1e-2",
    "training.warmup_steps=0",
    "evaluation.samples=1",
    "evaluation.max_new_tokens=4",
    "data.max_eval_rows=4",
    "resources.device=cpu",
    "resources.cpu_threads=1",
    "resources.min_free_disk_gib=0.01",
)


# The files of the tiny model's folder that a method trains on and is evaluated on.
ROWS = {
    "cpt": ("text.jsonl", None),
    **dict.fromkeys(PREFERENCE, ("pairs.jsonl", "pairs_validation.jsonl")),
}


def on_tiny(model: Path, recipe: str, *overrides: str) -> Loaded:
    """A library recipe on the tiny model and its rows, with small settings and then `overrides`."""
    method = load(recipe).recipe.method
    rows, held_out = ROWS.get(method, ("train.jsonl", "validation.jsonl"))
    places = (f"model.base={model}", f"data.train={model / rows}", f"data.eval={held_out and model / held_out}")
    small = SMALL
    if method in ROLLOUT:
        small = (*(text for text in SMALL if "max_length" not in text), f"{method}.max_completion_length=8")
    return load(recipe, [*places, *small, *overrides])


@dataclass(frozen=True)
class Worked:
    """One attempt that is over: its run, the exit code, and the threads that torch was left with."""

    run: RunFolder
    code: int
    threads: int

    def events(self, type: str) -> list[Event]:
        return events(self.run, type)

    @property
    def verdict(self) -> dict[str, Any]:
        return dict(self.events("run.end")[-1]["verdict"])


def events(run: RunFolder, type: str) -> list[Event]:
    """The events of one type, in order."""
    return [event for event in read_events(run.events) if event["type"] == type]


def new_run(recipe: Recipe, home: Path) -> RunFolder:
    """The folder of a run, as a launch makes it, without its checks and without a process."""
    return RunFolder.create(
        home, name="tiny", method=recipe.method, recipe=recipe.model_dump(), origins={}, command=["test"]
    )


def work_here(run: RunFolder, attempt: int = 1) -> Worked:
    """An attempt of `run` in this process, later ones resumed; what the trainer changes of the process is put back."""
    import torch

    from trainer.worker.main import work as attempted

    threads = torch.get_num_threads()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return Worked(run, attempted(run, attempt, resume=attempt > 1), torch.get_num_threads())
    finally:
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def work(home: Path, model: Path, recipe: str, *overrides: str, name: str = "tiny") -> Worked:
    """Three steps of a recipe in this process, its places made lasting as a launch does it; it has to end well."""
    loaded, lineage = made_whole(
        on_tiny(model, recipe, "training.max_steps=3", "evaluation.samples=0", *overrides), home
    )
    run = RunFolder.create(
        home,
        name=name,
        method=loaded.recipe.method,
        recipe=loaded.recipe.model_dump(),
        origins={},
        command=[],
        parent=lineage.parent,
        facts={"base": lineage.base},
    )
    worked = work_here(run)
    assert worked.code == 0, worked.verdict
    return worked
