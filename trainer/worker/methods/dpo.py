"""Direct preference optimisation and its variants (IPO, robust, hinge, ...): TRL's DPOTrainer, built from a recipe.

The reference is the base with the adapter switched off, or a frozen copy of the adapter that the run goes on from: no
second copy of the model. Full tuning alone loads one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.schema import Recipe
from trainer.datasets.splits import Split
from trainer.worker.data import Rows, as_dataset
from trainer.worker.methods.common import Scene, adapter_for, arguments, built
from trainer.worker.models import Device
from trainer.worker.proofs import prove_answers

if TYPE_CHECKING:
    from trl import DPOConfig, DPOTrainer


def build_rows(recipe: Recipe, split: Split, tokenizer: Any) -> Rows:
    """Pairs in TRL's form: prompt, chosen, rejected."""
    return Rows(as_dataset(split.train), as_dataset(split.eval))


def build_config(recipe: Recipe, device: Device, output_dir: Path, rows: Rows, *, resumes: bool = False) -> DPOConfig:
    """TRL's config for the recipe."""
    from trl import DPOConfig

    settings = {
        **arguments(recipe, device, output_dir, evaluates=rows.eval is not None, resumes=resumes),
        "max_length": recipe.training.max_length,
        **recipe.dpo.model_dump(),
    }
    return built(DPOConfig, settings, recipe.training.extra)


def build_trainer(
    recipe: Recipe, config: DPOConfig, model: Any, tokenizer: Any, rows: Rows, scene: Scene
) -> DPOTrainer:
    """The trainer, its pairs tokenized by TRL."""
    from trl import DPOTrainer

    return DPOTrainer(
        model=model,
        args=config,
        train_dataset=rows.train,
        eval_dataset=rows.eval,
        processing_class=tokenizer,
        peft_config=adapter_for(recipe, model),
    )


def prove(trainer: DPOTrainer, tokenizer: Any, rows: Rows) -> dict[str, Any]:
    """What of the pairs is trained. Pairs that max_length cuts to the same answers are left out."""
    return prove_answers(trainer, tokenizer, ("chosen_ids", "rejected_ids"), len(rows.train))
