"""What a method cannot start without, beside a base and rows: found before anything is written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from recipes.errors import RecipeError
from recipes.rewards import PythonTests, RewardModel
from recipes.schema import ROLLOUT, Recipe
from trainer.errors import ModelError, PreflightRefusal
from trainer.planning.bases import has_score_head
from trainer.rewards import sandbox
from trainer.rewards.service import check_rewards
from trainer.runs.lineage import PREFIX, resolve

_POCKET_COLUMNS = {"prompt", "completion", "answer"}


def check_method(recipe: Recipe, columns: set[str] | None, home: Path | None) -> None:
    """Raises InputError (exit code 2) or PreflightRefusal (3). `columns` are those of the rows, None for the pocket's."""
    if resolve(recipe.model.base, home).method == "reward" and recipe.method != "reward":
        raise ModelError(
            f"model.base: {recipe.model.base} is a reward model, which scores and does not write",
            "give it as rewards.NAME.base, and a language model as model.base",
        )
    if recipe.method == "dpo":
        _check_dpo(recipe)
    if recipe.method == "kto" and recipe.kto.loss_type == "kto" and recipe.training.per_device_train_batch_size < 2:
        raise RecipeError(
            "training.per_device_train_batch_size is 1: KTO estimates the KL divergence from the other rows of a batch",
            "set it to 2 or more, or kto.loss_type=apo_zero_unpaired",
        )
    if recipe.method in ROLLOUT:
        _check_rollouts(recipe)
        check_rewards(recipe.rewards, _POCKET_COLUMNS if columns is None else columns)
        _check_reward_models(recipe, home)
        _check_sandbox(recipe)


def _check_dpo(recipe: Recipe) -> None:
    dpo = recipe.dpo
    if dpo.loss_weights is not None and len(dpo.loss_weights) != len(dpo.loss_type):
        raise RecipeError(
            f"dpo.loss_weights has {len(dpo.loss_weights)} weights for {len(dpo.loss_type)} losses of dpo.loss_type",
            "give one weight a loss",
        )
    if "exo_pair" in dpo.loss_type and dpo.label_smoothing == 0:
        raise RecipeError("dpo.loss_type exo_pair needs dpo.label_smoothing above 0", "its authors take 1e-3")
    if dpo.sync_ref_model and recipe.model.tuning != "full":
        raise RecipeError(
            "dpo.sync_ref_model moves a reference model, and under adapters there is none: it is the base itself",
            "set model.tuning=full, or leave dpo.sync_ref_model out",
        )


def _check_rollouts(recipe: Recipe) -> None:
    block = getattr(recipe, recipe.method)
    training = recipe.training
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
    if batch % block.num_generations:
        raise RecipeError(
            f"{recipe.method}.num_generations={block.num_generations} does not divide the {batch} completions of a step "
            f"({training.per_device_train_batch_size} a batch times {training.gradient_accumulation_steps} batches)",
            f"set training.gradient_accumulation_steps or training.per_device_train_batch_size so that "
            f"{block.num_generations} divides their product",
        )
    if block.use_vllm and importlib.util.find_spec("vllm") is None:
        raise PreflightRefusal(
            f"{recipe.method}.use_vllm needs vLLM, which is not installed",
            f"pip install vllm, or leave {recipe.method}.use_vllm out: transformers generates anywhere",
        )


def _check_reward_models(recipe: Recipe, home: Path | None) -> None:
    given = {
        f"rewards.{name}.base": reward.base
        for name, reward in recipe.rewards.items()
        if isinstance(reward, RewardModel)
    }
    if recipe.method == "ppo" and recipe.ppo.value_base:
        given["ppo.value_base"] = recipe.ppo.value_base
    for key, base in given.items():
        if not base.startswith(PREFIX):
            if not has_score_head(base):
                raise ModelError(
                    f"{key}: {base} has no score head: it is no reward model", "train one: `burnish run reward-model`"
                )
            continue
        if (method := resolve(base, home).method) != "reward":
            raise ModelError(
                f"{key}: {base} is a {method} run, no reward model",
                f"--set {key}=run:ID of a run of the recipe reward-model",
            )


def _check_sandbox(recipe: Recipe) -> None:
    for name, reward in recipe.rewards.items():
        if isinstance(reward, PythonTests) and not reward.unsandboxed and sandbox.available() is None:
            raise PreflightRefusal(
                f"rewards.{name} runs generated code, and this box has neither bubblewrap nor user namespaces to hold it",
                f"apt-get install bubblewrap, or --set rewards.{name}.unsandboxed=true for code that you trust",
            )
