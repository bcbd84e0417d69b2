"""A reward model, which scores an answer by what was preferred: TRL's RewardTrainer, built from a recipe."""

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
    from trl import RewardConfig, RewardTrainer


def build_rows(recipe: Recipe, split: Split, tokenizer: Any) -> Rows:
    """Pairs in TRL's form: prompt, chosen, rejected."""
    return Rows(as_dataset(split.train), as_dataset(split.eval))


def build_config(
    recipe: Recipe, device: Device, output_dir: Path, rows: Rows, *, resumes: bool = False
) -> RewardConfig:
    """TRL's config for the recipe."""
    from trl import RewardConfig

    settings = {
        **arguments(recipe, device, output_dir, evaluates=rows.eval is not None, resumes=resumes),
        "max_length": recipe.training.max_length,
        "chat_template_path": recipe.data.chat_template_path,
        **recipe.reward.model_dump(),
    }
    return built(RewardConfig, settings, recipe.training.extra)


def build_trainer(
    recipe: Recipe, config: RewardConfig, model: Any, tokenizer: Any, rows: Rows, scene: Scene
) -> RewardTrainer:
    """The trainer, its pairs tokenized by TRL; pairs longer than max_length are left out by it."""
    from trl import RewardTrainer

    trainer = RewardTrainer(
        model=model,
        args=config,
        train_dataset=rows.train,
        eval_dataset=rows.eval,
        processing_class=tokenizer,
        peft_config=adapter_for(recipe, model, "SEQ_CLS"),
    )
    match_head(trainer.model, scene.device.dtype(recipe.model.dtype))
    return trainer


def match_head(model: Any, dtype: Any) -> None:
    """Give the score head the type of what it reads: TRL holds what is trained of a 4-bit base in bfloat16."""
    for name, weight in model.named_parameters():
        if "modules_to_save" in name:
            weight.data = weight.data.to(dtype)


def prove(trainer: RewardTrainer, tokenizer: Any, rows: Rows) -> dict[str, Any]:
    """What of the pairs is scored."""
    return prove_answers(trainer, tokenizer, ("chosen_ids", "rejected_ids"), len(rows.train))
