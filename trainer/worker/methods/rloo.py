"""Learning from a reward model (RLHF): TRL's RLOOTrainer, built from a recipe. Scoring is ours, the rest is TRL's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.schema import Recipe
from trainer.datasets.splits import Split
from trainer.worker.data import Rows
from trainer.worker.methods.common import Scene, adapter_for, arguments, built
from trainer.worker.models import Device
from trainer.worker.proofs import prove_prompts
from trainer.worker.rollouts import logged, prompts_of, reward_functions, watched

if TYPE_CHECKING:
    from trl import RLOOConfig, RLOOTrainer


def build_rows(recipe: Recipe, split: Split, tokenizer: Any) -> Rows:
    """Prompts in TRL's form; the columns that the rewards read are kept beside them."""
    return prompts_of(split)


def build_config(recipe: Recipe, device: Device, output_dir: Path, rows: Rows, *, resumes: bool = False) -> RLOOConfig:
    """TRL's config for the recipe."""
    from trl import RLOOConfig

    settings = {
        **arguments(recipe, device, output_dir, evaluates=rows.eval is not None, resumes=resumes),
        **logged(recipe.rewards),
        **recipe.rloo.model_dump(),
    }
    return built(RLOOConfig, settings, recipe.training.extra)


def build_trainer(
    recipe: Recipe, config: RLOOConfig, model: Any, tokenizer: Any, rows: Rows, scene: Scene
) -> RLOOTrainer:
    """The trainer, with the recipe's rewards."""
    from trl import RLOOTrainer

    return watched(RLOOTrainer, keeps_completions=False)(
        model=model,
        reward_funcs=reward_functions(recipe, rows, tokenizer, scene),
        args=config,
        train_dataset=rows.train,
        eval_dataset=rows.eval,
        processing_class=tokenizer,
        peft_config=adapter_for(recipe, model),
    )


def prove(trainer: RLOOTrainer, tokenizer: Any, rows: Rows) -> dict[str, Any]:
    """How long the prompts are."""
    return prove_prompts(rows.train, tokenizer)
