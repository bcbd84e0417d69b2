"""Supervised fine-tuning and continued pretraining: TRL's SFTTrainer, built from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import RecipeError
from recipes.schema import Recipe
from trainer.datasets.splits import Split
from trainer.worker.data import Masking, Rows, as_dataset, decide_masking
from trainer.worker.methods.common import Scene, adapter_for, arguments, built
from trainer.worker.models import Device, attention
from trainer.worker.proofs import prove_labels

if TYPE_CHECKING:
    from trl import SFTConfig, SFTTrainer


def build_rows(recipe: Recipe, split: Split, tokenizer: Any) -> Rows:
    """Rows in TRL's form, cut where the masking needs it. Raises DatasetError for a masking that they cannot have."""
    masking = decide_masking(recipe, split, tokenizer)
    return Rows(as_dataset(split.train, masking), as_dataset(split.eval, masking), masking)


def build_config(recipe: Recipe, device: Device, output_dir: Path, rows: Rows, *, resumes: bool = False) -> SFTConfig:
    """TRL's config for the recipe. Raises RecipeError for packing without an attention that keeps rows apart."""
    from trl import SFTConfig

    if recipe.sft.packing and not attention(recipe.model, device).startswith("flash_attention"):
        raise RecipeError(
            "sft.packing needs flash attention: other kernels let packed rows see each other",
            "install flash-attn on a GPU box, or set sft.packing=false",
        )
    masking = rows.masking or Masking("none", None, False)
    settings = {
        **arguments(recipe, device, output_dir, evaluates=rows.eval is not None, resumes=resumes),
        "max_length": recipe.training.max_length,
        "packing": recipe.sft.packing,
        "completion_only_loss": masking.completion_only_loss,
        "assistant_only_loss": masking.assistant_only_loss,
        "chat_template_path": recipe.data.chat_template_path,
    }
    if recipe.sft.loss_type != "auto":
        settings["loss_type"] = recipe.sft.loss_type
    return built(SFTConfig, settings, recipe.training.extra)


def build_trainer(
    recipe: Recipe, config: SFTConfig, model: Any, tokenizer: Any, rows: Rows, scene: Scene
) -> SFTTrainer:
    """The trainer, its rows tokenized and labelled by TRL."""
    from trl import SFTTrainer

    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=rows.train,
        eval_dataset=rows.eval,
        processing_class=tokenizer,
        peft_config=adapter_for(recipe, model),
    )


def prove(trainer: SFTTrainer, tokenizer: Any, rows: Rows) -> dict[str, Any]:
    """What the labels say is trained. Raises DatasetError where they say nothing, or not what the rows say."""
    assert rows.masking is not None
    return prove_labels(trainer.train_dataset, trainer.data_collator, tokenizer, rows.masking, len(rows.train))
