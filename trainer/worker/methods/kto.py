"""Kahneman-Tversky optimisation, from thumbs up and down: TRL's KTOTrainer, built from a recipe."""

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
    from trl import KTOConfig, KTOTrainer


def build_rows(recipe: Recipe, split: Split, tokenizer: Any) -> Rows:
    """Rated answers in TRL's form: prompt, completion, label."""
    return Rows(as_dataset(split.train), as_dataset(split.eval))


def build_config(recipe: Recipe, device: Device, output_dir: Path, rows: Rows, *, resumes: bool = False) -> KTOConfig:
    """TRL's config for the recipe."""
    from trl import KTOConfig

    settings = {
        **arguments(recipe, device, output_dir, evaluates=rows.eval is not None, resumes=resumes),
        "max_length": recipe.training.max_length,
        **recipe.kto.model_dump(),
    }
    return built(KTOConfig, settings, recipe.training.extra)


def build_trainer(
    recipe: Recipe, config: KTOConfig, model: Any, tokenizer: Any, rows: Rows, scene: Scene
) -> KTOTrainer:
    """The trainer, its rows tokenized by TRL."""
    from trl import KTOTrainer

    _warn_of_imbalance(recipe, rows, scene)
    return KTOTrainer(
        model=model,
        args=config,
        train_dataset=rows.train,
        eval_dataset=rows.eval,
        processing_class=tokenizer,
        peft_config=adapter_for(recipe, model),
    )


def prove(trainer: KTOTrainer, tokenizer: Any, rows: Rows) -> dict[str, Any]:
    """What of the answers is trained. Answers that max_length cuts to nothing are left out."""
    return prove_answers(trainer, tokenizer, ("completion_ids",), len(rows.train))


def _warn_of_imbalance(recipe: Recipe, rows: Rows, scene: Scene) -> None:
    """The KTO paper and TRL's guide want weights times counts of ups and downs within 1:1 to 4:3."""
    ups = sum(rows.train["label"])
    downs = len(rows.train) - ups
    ratio = recipe.kto.desirable_weight * ups / (recipe.kto.undesirable_weight * max(downs, 1))
    if not 1.0 <= ratio <= 4 / 3:
        wanted = recipe.kto.undesirable_weight * downs / max(ups, 1)
        scene.warn(
            "balance",
            f"{ups} thumbs up to {downs} down weigh {ratio:.2g} to 1, outside 1:1 to 4:3: "
            f"--set kto.desirable_weight={wanted:.2g} balances them",
        )
