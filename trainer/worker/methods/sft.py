"""Supervised fine-tuning: TRL's SFTTrainer, built from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import RecipeError
from recipes.schema import Recipe
from trainer.worker.data import Masking
from trainer.worker.models import Device, attention

if TYPE_CHECKING:
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer


def build_config(
    recipe: Recipe, device: Device, masking: Masking, output_dir: Path, *, evaluates: bool, resumes: bool = False
) -> SFTConfig:
    """TRL's config for the recipe. Raises RecipeError for packing without an attention that keeps rows apart."""
    from trl import SFTConfig

    training, evaluation = recipe.training, recipe.evaluation
    if training.packing and not attention(recipe.model, device).startswith("flash_attention"):
        raise RecipeError(
            "training.packing needs flash attention: other kernels let packed rows see each other",
            "install flash-attn on a GPU box, or set training.packing=false",
        )
    settings: dict[str, Any] = {
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
        "max_length": training.max_length,
        "packing": training.packing,
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
        "completion_only_loss": masking.completion_only_loss,
        "assistant_only_loss": masking.assistant_only_loss,
        "chat_template_path": recipe.data.chat_template_path,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": evaluation.eval_steps,
        "per_device_eval_batch_size": evaluation.per_device_eval_batch_size,
        "eval_on_start": evaluation.eval_on_start and evaluates and not resumes,
        "prediction_loss_only": True,  # keeping every logit is what runs out of memory at the first evaluation
        "bf16": str(device.dtype(recipe.model.dtype)) == "torch.bfloat16" and device.kind == "cuda",
        "fp16": str(device.dtype(recipe.model.dtype)) == "torch.float16" and device.kind == "cuda",
        "use_cpu": device.kind == "cpu",
        "logging_nan_inf_filter": False,  # a NaN is to be seen
        "report_to": "none",
        "disable_tqdm": True,
    }
    if training.loss_type != "auto":
        settings["loss_type"] = training.loss_type
    unknown = [key for key in training.extra if key not in SFTConfig.__dataclass_fields__]
    if unknown:
        raise RecipeError(
            f"training.extra.{unknown[0]} is no field of TRL's SFTConfig", "check its spelling in TRL's docs"
        )
    return SFTConfig(**{**settings, **training.extra})


def build_peft_config(recipe: Recipe) -> LoraConfig | None:
    """PEFT's config of the adapter, None for full tuning."""
    if recipe.model.tuning == "full":
        return None
    from peft import LoraConfig

    lora = recipe.model.lora
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.target_modules,
        modules_to_save=lora.modules_to_save,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_lora_weights=True if lora.init_lora_weights == "default" else lora.init_lora_weights,
    )


def build_trainer(
    recipe: Recipe, config: SFTConfig, model: Any, tokenizer: Any, train: Any, held_out: Any, callbacks: list[Any]
) -> SFTTrainer:
    """The trainer, its rows tokenized and labelled by TRL."""
    from trl import SFTTrainer

    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=build_peft_config(recipe),
        callbacks=callbacks,
    )
