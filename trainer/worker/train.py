"""One attempt of a run, top to bottom: load, prepare, prove the labels, train, save."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from recipes.loading import from_record
from recipes.schema import Recipe
from trainer.datasets.splits import Split
from trainer.errors import DatasetError, RunError
from trainer.pocket import cache
from trainer.runs.folder import RunFolder
from trainer.runs.lineage import resolve
from trainer.runs.model import Verdict
from trainer.worker import models
from trainer.worker.data import split_of
from trainer.worker.methods import METHODS
from trainer.worker.methods.common import Scene
from trainer.worker.reporter import Reporter
from trainer.worker.samples import prompts_of
from trainer.worker.telemetry import KeepTypes, Telemetry

_PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def train(run: RunFolder, reporter: Reporter, *, resume: bool) -> Verdict:
    """Train as `run.json` says, from the newest checkpoint where `resume`; returns the verdict on a good end."""
    record = run.record()
    recipe = from_record(record["recipe"])
    method = METHODS[recipe.method]
    checkpoint = run.latest_checkpoint() if resume else None
    if resume and checkpoint is None:
        raise RunError(f"{run.id} has no whole checkpoint to resume from", "launch it again")

    reporter.phase("loading", "model and tokenizer")
    if recipe.resources.cpu_threads:
        import torch

        torch.set_num_threads(recipe.resources.cpu_threads)
    home = run.path.parent.parent  # the run lies in HOME/runs
    lineage = resolve(recipe.model.base, home)
    pocket = _pocket(recipe, lineage.base, home, reporter)
    device = models.pick_device(recipe.resources)
    base = str(pocket) if lineage.base == "pocket" else lineage.base
    model, tokenizer = models.load_to_train(recipe, base, lineage.adapter, device)

    reporter.phase("preparing", "rows and labels")
    split = split_of(recipe, pocket)
    rows = method.build_rows(recipe, split, tokenizer)
    config = method.build_config(recipe, device, run.checkpoints, rows, resumes=resume)
    scene = Scene(device, home, base, lambda kind, message: reporter.event("warning", kind=kind, message=message))
    trainer = method.build_trainer(recipe, config, model, tokenizer, rows, scene)
    proof = method.prove(trainer, tokenizer, rows)
    if (cut := proof.pop("dropped_by_max_length")) > 0:
        if recipe.data.untrainable == "refuse":
            raise DatasetError(
                f"training.max_length cuts {cut} of {len(split.train)} rows before their answer",
                "raise training.max_length, or let data.untrainable=auto leave such rows out with a count",
            )
        split.train_count.drop("cut to nothing by training.max_length", cut)
        split.train_count.kept -= cut
    telemetry = _telemetry(recipe, trainer, split, scene, reporter)
    trainer.add_callback(telemetry)
    trainer.add_callback(KeepTypes(trainer.model))
    _tell_model(recipe, trainer, device, reporter)
    _tell_data(recipe, trainer, split, proof, reporter)
    resumed_from = int(checkpoint.name.rpartition("-")[2]) if checkpoint else None
    reporter.event(
        "run.start",
        attempt=reporter.attempt,
        resumed_from=resumed_from,
        device=device.name,
        versions=versions(),
        total_steps=config.max_steps if config.max_steps > 0 else None,
    )
    if config.eval_on_start:
        reporter.phase("evaluating", "the model as it starts", state="running")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    reporter.phase("finishing", "saving the result")
    if "ref" in getattr(trainer.model, "peft_config", {}):
        trainer.model.delete_adapter("ref")  # TRL's frozen copy of what the run began with
    trainer.save_model(str(run.adapter))
    tokenizer.save_pretrained(str(run.adapter))
    telemetry.memory("finishing")
    if scene.trouble:
        raise scene.trouble[0]
    return _verdict(run, telemetry, trainer.state.global_step, trainer.state.max_steps)


def _telemetry(recipe: Recipe, trainer: Any, split: Split, scene: Scene, reporter: Reporter) -> Telemetry:
    total, trained = models.parameters(trainer.model)
    return Telemetry(
        reporter,
        evaluates=trainer.eval_dataset is not None,
        prompts=[] if recipe.method == "reward" else prompts_of(split.eval, recipe.evaluation.samples),
        max_new_tokens=recipe.evaluation.max_new_tokens,
        min_free_bytes=recipe.resources.min_free_disk_gib * 1024**3,
        # Forward and backward through frozen weights take 4 FLOPs a parameter and token, through trained ones 6.
        flops_per_token=4.0 * total + 2.0 * trained,
        device_name=scene.device.name,
        method=recipe.method,
        health=recipe.health,
        checks=[name for name, reward in recipe.rewards.items() if reward.weight == 0],
        clock=getattr(trainer, "clock", None),
        trouble=scene.trouble,
    )


def _tell_model(recipe: Recipe, trainer: Any, device: models.Device, reporter: Reporter) -> None:
    total, trained = models.parameters(trainer.model)
    reporter.event(
        "model",
        base=recipe.model.base,
        parameters=total,
        trainable=trained,
        trainable_share=trained / total,
        dtype=str(device.dtype(recipe.model.dtype)).removeprefix("torch."),
        tuning=recipe.model.tuning,
        device=device.name,
        attn_implementation=models.attention(recipe.model, device),
    )


def _tell_data(recipe: Recipe, trainer: Any, split: Split, proof: dict[str, Any], reporter: Reporter) -> None:
    reporter.event(
        "data",
        train_rows=len(trainer.train_dataset),
        eval_rows=len(split.eval),
        rows_read=split.train_count.read,
        dropped=dict(split.train_count.dropped),
        held_out_from_train=split.held_out_from_train,
        format=split.layout.format,
        evidence=split.layout.evidence,
        fingerprint=split.fingerprint,
        **split.facts,
        **proof,
    )
    if recipe.method == "sft" and proof["eos_trained"] < 0.5:
        message = "the end of an answer is trained in less than half of the rows: the model may never stop"
        reporter.event("warning", kind="eos", message=message)


def _verdict(run: RunFolder, telemetry: Telemetry, step: int, steps: int) -> Verdict:
    """The verdict on an attempt that saved its result."""
    if alarm := telemetry.alarm:
        said = f"stopped by health.stop_on after step {step} of {steps}, saved: {alarm.why}"
        return Verdict("health", said, alarm.remedy, exit_code=1)
    if telemetry.stopped_by and step < steps:
        done = f"stopped by {telemetry.stopped_by} after step {step} of {steps}, saved"
        return Verdict("stopped", done, "`burnish resume` goes on from there", exit_code=0)
    return Verdict("completed", f"finished all {steps} steps", f"the result is in {run.adapter}", exit_code=0)


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _pocket(recipe: Recipe, base: str, home: Path, reporter: Reporter) -> Path | None:
    """The folder of the pocket model, built now where the recipe asks for it and it is missing."""
    if "pocket" not in (base, recipe.data.train, recipe.data.eval):
        return None
    if base == "pocket":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")

    def progress(step: int, steps: int, loss: float) -> None:
        reporter.status(note=f"building the pocket model, step {step} of {steps}")

    return cache.ensure(home, progress)
