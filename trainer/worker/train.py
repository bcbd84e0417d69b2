"""One attempt of a run, top to bottom: load, prepare, prove the labels, train, save."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from recipes.loading import from_record
from recipes.schema import Recipe
from trainer.errors import DatasetError, RunError
from trainer.pocket import cache
from trainer.runs.folder import RunFolder
from trainer.runs.model import Verdict
from trainer.worker import models
from trainer.worker.data import as_dataset, decide_masking, prove_labels, split_of
from trainer.worker.methods import METHODS
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
    pocket = _pocket(recipe, record, reporter)
    device = models.pick_device(recipe.resources)
    base = str(pocket) if recipe.model.base == "pocket" else recipe.model.base
    model, tokenizer = models.load(recipe, base, device)

    reporter.phase("preparing", "rows and labels")
    split = split_of(recipe, pocket)
    masking = decide_masking(recipe, split, tokenizer)
    held_out = as_dataset(split.eval, masking)
    config = method.build_config(
        recipe, device, masking, run.checkpoints, evaluates=held_out is not None, resumes=resume
    )
    trainer = method.build_trainer(
        recipe, config, model, tokenizer, as_dataset(split.train, masking), held_out, callbacks=[]
    )
    proof = prove_labels(trainer.train_dataset, trainer.data_collator, tokenizer, masking, len(split.train))
    if (cut := proof.pop("dropped_by_max_length")) > 0:
        if recipe.data.untrainable == "refuse":
            raise DatasetError(
                f"training.max_length cuts {cut} of {len(split.train)} rows before their answer",
                "raise training.max_length, or let data.untrainable=auto leave such rows out with a count",
            )
        split.train_count.drop("cut to nothing by training.max_length", cut)
        split.train_count.kept -= cut
    total, trained = models.parameters(trainer.model)
    telemetry = Telemetry(
        reporter,
        evaluates=held_out is not None,
        prompts=prompts_of(split.eval, recipe.evaluation.samples),
        max_new_tokens=recipe.evaluation.max_new_tokens,
        min_free_bytes=recipe.resources.min_free_disk_gib * 1024**3,
        # Forward and backward through frozen weights take 4 FLOPs a parameter and token, through trained ones 6.
        flops_per_token=4.0 * total + 2.0 * trained,
        device_name=device.name,
    )
    trainer.add_callback(telemetry)
    trainer.add_callback(KeepTypes(trainer.model))
    reporter.event(
        "model",
        base=recipe.model.base,
        parameters=total,
        trainable=trained,
        trainable_share=trained / total,
        dtype=str(models.Device.dtype(device, recipe.model.dtype)).removeprefix("torch."),
        tuning=recipe.model.tuning,
        device=device.name,
        attn_implementation=models.attention(recipe.model, device),
    )
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
        **proof,
    )
    if proof["eos_trained"] < 0.5 and recipe.method == "sft":
        message = "the end of an answer is trained in less than half of the rows: the model may never stop"
        reporter.event("warning", kind="eos", message=message)
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
        reporter.phase("evaluating", "the untrained base", state="running")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    reporter.phase("finishing", "saving the result")
    trainer.save_model(str(run.adapter))
    tokenizer.save_pretrained(str(run.adapter))
    telemetry.memory("finishing")
    step, steps = trainer.state.global_step, trainer.state.max_steps
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


def _pocket(recipe: Recipe, record: dict[str, Any], reporter: Reporter) -> Path | None:
    """The folder of the pocket model, built now where the recipe asks for it and it is missing."""
    if "pocket" not in (recipe.model.base, recipe.data.train, recipe.data.eval):
        return None
    home = reporter.run.path.parent.parent  # the run lies in HOME/runs
    os.environ.setdefault("HF_HUB_OFFLINE", "1") if recipe.model.base == "pocket" else None

    def progress(step: int, steps: int, loss: float) -> None:
        reporter.status(note=f"building the pocket model, step {step} of {steps}")

    return cache.ensure(home, progress)
