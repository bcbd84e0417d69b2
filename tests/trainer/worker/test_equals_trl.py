"""The numbers of a run are those of a bare TRL script: same seed, same model, same rows, same loss at every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.worker.conftest import METHODS
from tests.trainer.worker.helpers import events, new_run, on_tiny, work_here
from trainer.runs.folder import RunFolder

LEARNING_RATE = 1e-2
SAMPLES = ("evaluation.samples=4", "evaluation.max_new_tokens=16")


def bare(model: Path, out: Path, name: str, *, steps: int, dropout: float = 0.0, eval_steps: int = 0) -> list[Any]:
    """What TRL logs without burnish: a script as its documentation has it. Evaluates where `eval_steps` is given."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    rank = 32 if name == "cpt" else 16
    adapter = LoraConfig(
        r=rank, lora_alpha=32, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(
                model,
                dtype=torch.float32,
                quantization_config=four_bits if name in ("cpt", "sft-qlora") else None,
            ),
            args=SFTConfig(
                output_dir=str(out),
                max_steps=steps,
                per_device_train_batch_size=4,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="cosine",
                optim="adamw_torch",
                max_length=128,
                logging_steps=1,
                save_strategy="no",
                eval_strategy="steps" if eval_steps else "no",
                eval_steps=eval_steps or None,
                eval_on_start=bool(eval_steps),
                per_device_eval_batch_size=4,
                prediction_loss_only=True,
                gradient_checkpointing=False,
                seed=42,
                data_seed=42,
                bf16=False,
                use_cpu=True,
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows(model / ("text.jsonl" if name == "cpt" else "train.jsonl"))),
            eval_dataset=Dataset.from_list(rows(model / "validation.jsonl")[:4]) if eval_steps else None,
            processing_class=AutoTokenizer.from_pretrained(model),
            peft_config=None if name == "sft-full" else adapter,
        )
        trainer.train()
    finally:
        torch.set_num_threads(threads)
    return list(trainer.state.log_history)


def rows_of_file(file: Path, *columns: str) -> list[dict[str, Any]]:
    """These columns of every row, where it has them."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: row[key] for key in columns if key in row} for row in rows]


def rows(file: Path) -> list[dict[str, Any]]:
    return rows_of_file(file, "prompt", "completion", "text")


def numbers(logs: list[dict[str, Any]], *keys: str) -> list[list[float]]:
    """The given numbers of every log that has them all."""
    return [[log[key] for key in keys] for log in logs if all(key in log for key in keys)]


STEP = ("loss", "grad_norm", "learning_rate", "num_tokens", "mean_token_accuracy")


@pytest.mark.parametrize("name", METHODS)
def test_a_run_has_the_losses_of_a_bare_script(
    name: str, method_runs: dict[str, RunFolder], tiny_model: Path, tmp_path: Path
) -> None:
    """Ours evaluates and answers samples between the steps, the script does not: neither may leave a trace."""
    ours = events(method_runs[name], "step")
    theirs = bare(tiny_model, tmp_path, name, steps=3)
    assert len(events(method_runs[name], "eval")) == 2
    assert numbers(ours, "loss")[0] != numbers(ours, "loss")[1]
    assert len(ours) == 3
    assert numbers(ours, *STEP) == [pytest.approx(log, rel=1e-6) for log in numbers(theirs, *STEP)]


def test_sampling_does_not_touch_the_random_state_of_dropout(tiny_model: Path, tmp_path: Path) -> None:
    """Both evaluate, only ours answers samples: under dropout one number drawn for a sample would change every loss."""
    loaded = on_tiny(
        tiny_model,
        "sft-lora",
        *("model.lora.lora_dropout=0.3", "training.max_steps=5", "evaluation.eval_steps=2"),
        *(f"data.eval={held_out(tiny_model, tmp_path)}", *SAMPLES),
    )
    ours = work_here(new_run(loaded.recipe, tmp_path))
    assert ours.code == 0, ours.verdict
    assert [event["step"] for event in ours.events("sample")] == [step for step in (0, 2, 4, 5) for _ in range(4)]
    theirs = bare(tiny_model, tmp_path / "bare", "sft-lora", steps=5, dropout=0.3, eval_steps=2)
    assert numbers(ours.events("step"), *STEP) == [pytest.approx(log, rel=1e-6) for log in numbers(theirs, *STEP)]
    evaluated = numbers(ours.events("eval"), "eval_loss")
    assert evaluated == [pytest.approx(log, rel=1e-6) for log in numbers(theirs, "eval_loss")]
    assert len(evaluated) == 4


def held_out(model: Path, folder: Path) -> Path:
    """The first four held-out rows as a file."""
    file = folder / "held-out.jsonl"
    file.write_text("\n".join((model / "validation.jsonl").read_text().splitlines()[:4]) + "\n")
    return file


@pytest.mark.parametrize("name", ["sft-lora", "sft-qlora"])
def test_an_evaluation_before_the_first_step_changes_no_gradient(name: str, tiny_model: Path, tmp_path: Path) -> None:
    """On some CPUs bitsandbytes repacks a 4-bit weight in evaluation mode, and no gradient passes it ever after."""
    curves = []
    for first in ("true", "false"):
        loaded = on_tiny(tiny_model, name, "training.max_steps=2", f"evaluation.eval_on_start={first}")
        worked = work_here(new_run(loaded.recipe, tmp_path / first))
        assert worked.code == 0, worked.verdict
        curves.append(numbers(worked.events("step"), "loss", "grad_norm"))
    assert curves[0] == curves[1]
