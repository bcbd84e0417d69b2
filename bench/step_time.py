"""What does telemetry cost a step? The same rows, model and settings through burnish and through a bare TRL script.

Both log every step. Ours is read from the times of the step events; the bare script notes the time at each step's end.
The pocket model's steps last some hundredths of a second: the hardest case, for the cost of an event does not grow.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

from bench.launch import prepare, wait_until
from bench.measure import PYTHON, Result, median, save

STEPS, SKIP = 160, 40

BARE = """
import json, sys, time
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer

pocket, rows, out, steps = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
times = []
class Clock(TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        times.append(time.time())
model = AutoModelForCausalLM.from_pretrained(
    pocket, dtype=torch.float32,
    quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32))
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(output_dir=out, max_steps=steps, per_device_train_batch_size=16, logging_steps=1, max_length=256,
        learning_rate=2e-4, save_strategy="no", report_to="none", disable_tqdm=True, gradient_checkpointing=False,
        bf16=False, use_cpu=True, seed=42, data_seed=42),
    train_dataset=Dataset.from_list([json.loads(line) for line in open(rows)]),
    processing_class=AutoTokenizer.from_pretrained(pocket),
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    callbacks=[Clock()])
trainer.train()
print("TIMES " + json.dumps(times))
"""


def step_times(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)][SKIP:]


def ours(home: Path, pocket: Path, rows: Path) -> float:
    """Median step in seconds, telemetry on."""
    from recipes.loading import load
    from trainer.planning.start import start
    from trainer.runs.events import read_events
    from trainer.runs.registry import summary

    settings = {
        "model.base": str(pocket), "data.train": str(rows), "data.eval_fraction": 0, "training.max_steps": STEPS,
        "training.per_device_train_batch_size": 16, "training.gradient_accumulation_steps": 1,
        "training.max_length": 256, "training.gradient_checkpointing": False, "training.save_steps": 10_000,
        "training.learning_rate": 2e-4, "evaluation.eval_on_start": False, "evaluation.samples": 0,
    }  # fmt: skip
    loaded = load("sft-qlora", [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    run = start(loaded, home=home, command=["bench"], name="bench-step")
    wait_until(lambda: not summary(run).live, 300)
    return median(step_times([event["t"] for event in read_events(run.events) if event["type"] == "step"]))


def bare(pocket: Path, rows: Path) -> float:
    """Median step in seconds of a plain TRL script."""
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [PYTHON, "-c", BARE, str(pocket), str(rows), out, str(STEPS)],
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    line = next(line for line in done.stdout.splitlines() if line.startswith("TIMES "))
    return median(step_times(json.loads(line.removeprefix("TIMES "))))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        pocket, rows = prepare(home)
        file = rows / "train.jsonl"
        pairs = [(ours(home, pocket, file), bare(pocket, file)) for _ in range(5)]
    ratios = [a / b for a, b in pairs]
    save(
        "step_time",
        [
            Result(
                "step time with all telemetry, over the bare TRL script",
                median(ratios),
                1.01,
                "x",
                f"{1000 * median([a for a, _ in pairs]):.1f} ms a step (pairs: "
                + ", ".join(f"{ratio:.3f}" for ratio in ratios)
                + ")",
                f"{1000 * median([b for _, b in pairs]):.1f} ms",
                "python -m bench.step_time",
            )
        ],
    )


if __name__ == "__main__":
    main()
