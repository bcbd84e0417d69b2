"""The stages of the pocket's chain: which recipe each runs, and what it has to move. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAME = "demo"
_SHARED = (
    "training.gradient_accumulation_steps=1",
    "training.gradient_checkpointing=false",
    "training.save_steps=100",
    "evaluation.samples=1",
    "evaluation.max_new_tokens=40",
)
Measure = Literal["valid", "named", "ranked", "correct", "worked"]
MEASURES: dict[Measure, str] = {
    "valid": "valid JSON",
    "named": "names the unit",
    "ranked": "pairs ranked right",
    "correct": "exact match",
    "worked": "shows its work",
}


@dataclass(frozen=True)
class Stage:
    """One run of the chain: the recipe, what differs from it on a tiny model, and the measure that it has to move."""

    name: str
    recipe: str
    told: str
    measure: Measure
    overrides: tuple[str, ...]

    @property
    def run_name(self) -> str:
        return f"{NAME}-{self.name}"


STAGES = (
    Stage(
        "sft",
        "sft-qlora",
        "QLoRA SFT on answers in JSON",
        "valid",
        (
            *_SHARED,
            "training.max_steps=200",
            "training.per_device_train_batch_size=16",
            "training.learning_rate=2e-3",
            "training.max_length=256",
            "evaluation.eval_steps=100",
            "evaluation.per_device_eval_batch_size=64",
        ),
    ),
    Stage(
        "dpo",
        "dpo",
        "DPO on pairs that prefer the answer with its unit",
        "named",
        (
            *_SHARED,
            "training.max_steps=40",
            "training.per_device_train_batch_size=8",
            "training.learning_rate=3e-4",
            "training.max_length=256",
            "dpo.loss_type=[sigmoid, sft]",
            "evaluation.eval_steps=20",
            "evaluation.per_device_eval_batch_size=64",
        ),
    ),
    Stage(
        "rft",
        "rft-json",
        "GRPO on whether the answer is right",
        "correct",
        (
            *_SHARED,
            "data.max_eval_rows=64",
            "training.max_steps=40",
            "training.lr_scheduler_type=cosine",
            "training.per_device_train_batch_size=128",
            "training.learning_rate=1e-3",
            "grpo.max_completion_length=40",
            "evaluation.eval_on_start=false",
            "evaluation.eval_steps=20",
            "evaluation.per_device_eval_batch_size=128",
        ),
    ),
)
