"""What all methods are built with: the arguments of transformers' Trainer, and the adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recipes.errors import BurnishError, RecipeError
from recipes.schema import Recipe
from trainer.worker.models import Device

if TYPE_CHECKING:
    from peft import LoraConfig

Config = TypeVar("Config")


@dataclass(frozen=True)
class Scene:
    """What a trainer needs beside the recipe: where it runs, and who is told of what goes wrong on the way."""

    device: Device
    home: Path  # $BURNISH_HOME, where runs are found
    base: str  # folder or hub id that the policy was loaded from
    warn: Callable[[str, str], None]  # kind, message
    trouble: list[BurnishError] = field(default_factory=list)  # put in here, it ends the run after the step, saved


def arguments(recipe: Recipe, device: Device, output_dir: Path, *, evaluates: bool, resumes: bool) -> dict[str, Any]:
    """The fields of TrainingArguments, which every config of TRL extends."""
    training, evaluation = recipe.training, recipe.evaluation
    dtype = str(device.dtype(recipe.model.dtype))
    return {
        "output_dir": str(output_dir),
        "num_train_epochs": training.num_train_epochs,
        "max_steps": training.max_steps,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.lr_scheduler_type,
        "warmup_steps": training.warmup_steps if training.warmup_steps < 1 else int(training.warmup_steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "optim": training.optim,
        "gradient_checkpointing": training.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "neftune_noise_alpha": training.neftune_noise_alpha,
        "logging_steps": training.logging_steps,
        "save_strategy": "steps",
        "save_steps": training.save_steps,
        "save_total_limit": training.save_total_limit,
        "dataloader_num_workers": training.dataloader_num_workers,
        "dataloader_pin_memory": device.kind == "cuda",
        "seed": training.seed,
        "data_seed": training.data_seed,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": evaluation.eval_steps,
        "per_device_eval_batch_size": evaluation.per_device_eval_batch_size,
        "eval_on_start": evaluation.eval_on_start and evaluates and not resumes,
        "prediction_loss_only": True,  # keeping every logit is what runs out of memory at the first evaluation
        "bf16": dtype == "torch.bfloat16" and device.kind == "cuda",
        "fp16": dtype == "torch.float16" and device.kind == "cuda",
        "use_cpu": device.kind == "cpu",
        "logging_nan_inf_filter": False,  # a NaN is to be seen
        "report_to": "none",
        "disable_tqdm": True,
    }


def built(config: type[Config], settings: dict[str, Any], extra: dict[str, Any]) -> Config:
    """`config` of the settings and of `training.extra`. Raises RecipeError where the config refuses them."""
    unknown = [key for key in extra if key not in config.__dataclass_fields__]  # type: ignore[attr-defined]
    if unknown:
        raise RecipeError(
            f"training.extra.{unknown[0]} is no field of TRL's {config.__name__}", "check its spelling in TRL's docs"
        )
    try:
        return config(**{**settings, **extra})
    except (ValueError, ImportError) as error:
        raise RecipeError(
            f"TRL's {config.__name__} refuses the recipe: {error}", "change the settings that it names"
        ) from error


def adapter_for(recipe: Recipe, model: Any, task_type: str = "CAUSAL_LM") -> LoraConfig | None:
    """The config of a new adapter, None for full tuning and where the model brings the adapter of an earlier run."""
    return None if hasattr(model, "peft_config") else build_peft_config(recipe, task_type)


def build_peft_config(recipe: Recipe, task_type: str = "CAUSAL_LM") -> LoraConfig | None:
    """PEFT's config of the adapter, None for full tuning."""
    if recipe.model.tuning == "full":
        return None
    from peft import LoraConfig

    lora = recipe.model.lora
    return LoraConfig(
        task_type=task_type,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.target_modules,
        modules_to_save=lora.modules_to_save,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_lora_weights=True if lora.init_lora_weights == "default" else lora.init_lora_weights,
    )
