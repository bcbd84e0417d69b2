"""DPO and GRPO runs have the losses of a bare TRL script: same seed, same model, same rows, at every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.worker.helpers import new_run, on_tiny, work_here
from tests.trainer.worker.test_equals_trl import numbers, rows_of_file

STEPS = 3
COMMON = {
    "max_steps": STEPS, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "lr_scheduler_type": "cosine",
    "logging_steps": 1, "save_strategy": "no", "gradient_checkpointing": False, "seed": 42, "data_seed": 42, "bf16": False,
    "use_cpu": True, "report_to": "none", "disable_tqdm": True,
}  # fmt: skip
OURS = (
    "model.tuning=lora", f"training.max_steps={STEPS}", "training.learning_rate=1e-3",
    "training.lr_scheduler_type=cosine", "training.warmup_steps=0", "data.eval=none", "data.eval_fraction=0",
)  # fmt: skip


def adapter() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def loaded(model: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return {
        "model": AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        "processing_class": AutoTokenizer.from_pretrained(model),
        "peft_config": adapter(),
    }


def trained(trainer: Any) -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer.train()
    finally:
        torch.set_num_threads(threads)
    return list(trainer.state.log_history)


def test_dpo(tiny_model: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    ours = work_here(new_run(on_tiny(tiny_model, "dpo", *OURS).recipe, tmp_path))
    assert ours.code == 0, ours.verdict
    theirs = trained(
        DPOTrainer(
            args=DPOConfig(output_dir=str(tmp_path), max_length=128, **COMMON),
            train_dataset=Dataset.from_list(rows_of_file(tiny_model / "pairs.jsonl", "prompt", "chosen", "rejected")),
            **loaded(tiny_model),
        )
    )
    keys = ("loss", "grad_norm", "rewards/chosen", "rewards/margins", "logps/rejected")
    assert numbers(ours.events("step"), *keys) == [pytest.approx(log, rel=1e-5) for log in numbers(theirs, *keys)]
    losses = [event["loss"] for event in ours.events("step")]
    assert len(set(losses)) == STEPS


def test_grpo(tiny_model: Path, tmp_path: Path) -> None:
    """The reward is the length penalty, which an untrained model's completions differ in; the script has its own."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    ours = work_here(
        new_run(
            on_tiny(
                tiny_model, "rft-math", *OURS,
                "grpo.num_generations=4", "grpo.epsilon_high=none", "grpo.max_completion_length=16",
                "rewards={short: {kind: length, soft: 5, hard: 60}}",
            ).recipe,
            tmp_path,
        )
    )  # fmt: skip
    assert ours.code == 0, ours.verdict

    def short(completions: list[Any], **_: Any) -> list[float]:
        lengths = [len(turns[0]["content"]) for turns in completions]
        return [-min(max(length - 5, 0) / 55, 1.0) for length in lengths]

    theirs = trained(
        GRPOTrainer(
            reward_funcs=short,
            args=GRPOConfig(
                output_dir=str(tmp_path),
                num_generations=4,
                max_completion_length=16,
                num_completions_to_print=0,
                **COMMON,
            ),
            train_dataset=Dataset.from_list(rows_of_file(tiny_model / "train.jsonl", "prompt")),
            **loaded(tiny_model),
        )
    )
    keys = ("loss", "grad_norm", "reward", "reward_std", "entropy", "completions/mean_length")
    assert numbers(ours.events("step"), *keys) == [pytest.approx(log, rel=1e-5) for log in numbers(theirs, *keys)]
    assert all(event["reward_std"] > 0 for event in ours.events("step"))
