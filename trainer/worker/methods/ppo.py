"""Proximal policy optimisation with a value model. TRL 1.16 has no PPO: the trainer is ours, on TRL's rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.schema import Recipe
from trainer.datasets.splits import Split
from trainer.errors import ModelError
from trainer.worker import models, scorer
from trainer.worker.data import Rows
from trainer.worker.methods.common import Scene, adapter_for, arguments, build_peft_config, built
from trainer.worker.models import Device
from trainer.worker.proofs import prove_prompts
from trainer.worker.rollouts import logged, prompts_of, reward_functions, watched

if TYPE_CHECKING:
    from trainer.worker.ppo import PPOConfig, PPOTrainer


def build_rows(recipe: Recipe, split: Split, tokenizer: Any) -> Rows:
    """Prompts in TRL's form; the columns that the rewards read are kept beside them."""
    return prompts_of(split)


def build_config(recipe: Recipe, device: Device, output_dir: Path, rows: Rows, *, resumes: bool = False) -> PPOConfig:
    """The config for the recipe."""
    from trainer.worker.ppo import PPOConfig

    settings = {
        **arguments(recipe, device, output_dir, evaluates=rows.eval is not None, resumes=resumes),
        **logged(recipe.rewards),
        **recipe.ppo.model_dump(exclude={"value_base"}),
    }
    return built(PPOConfig, settings, recipe.training.extra)


def build_trainer(
    recipe: Recipe, config: PPOConfig, model: Any, tokenizer: Any, rows: Rows, scene: Scene
) -> PPOTrainer:
    """The trainer, with the recipe's rewards and a value model. Raises ModelError where its tokens are not the policy's."""
    from trainer.worker.ppo import PPOTrainer

    values, its_tokenizer = value_model(recipe, scene)
    if its_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise ModelError(
            f"ppo.value_base: {recipe.ppo.value_base} has another tokenizer than {recipe.model.base}",
            "a value model reads the policy's tokens: take one of the same family, or leave ppo.value_base out",
        )
    trainer: PPOTrainer = watched(PPOTrainer)(
        model=model,
        value_model=values,
        reward_funcs=reward_functions(recipe, rows, tokenizer, scene),
        args=config,
        train_dataset=rows.train,
        eval_dataset=rows.eval,
        processing_class=tokenizer,
        peft_config=adapter_for(recipe, model),
    )
    return trainer


def prove(trainer: PPOTrainer, tokenizer: Any, rows: Rows) -> dict[str, Any]:
    """How long the prompts are."""
    return prove_prompts(rows.train, tokenizer)


def value_model(recipe: Recipe, scene: Scene) -> tuple[Any, Any]:
    """The value model: a reward model that is trained further, or the policy's base with a fresh head."""
    if recipe.ppo.value_base:
        model, tokenizer = scorer.load(recipe.ppo.value_base, recipe, scene, trains=True)
    else:
        model, tokenizer = models.load(recipe, scene.base, scene.device, scores=True)
    if recipe.model.tuning != "full" and not hasattr(model, "peft_config"):
        from peft import get_peft_model

        model = get_peft_model(model, build_peft_config(recipe, "SEQ_CLS"))
    return model, tokenizer
