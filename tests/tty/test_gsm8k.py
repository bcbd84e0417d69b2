"""The README's run on GSM8K: its terminal is closed while it trains, another one comes back to it, it finishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.runs import events_of
from tests.tty.terminal import Terminal
from tests.waiting import wait_for_step, wait_until
from trainer.runs.folder import RunFolder, runs_home
from trainer.runs.registry import summary

GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"
SMALL = (
    "training.max_steps=60",
    "training.per_device_train_batch_size=2",
    "training.gradient_accumulation_steps=1",
    "data.max_eval_rows=16",
    "evaluation.max_new_tokens=8",
    "evaluation.samples=1",
    "resources.cpu_threads=1",
)


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not beside this checkout, in ../shared/data/gsm8k")
def test_a_run_on_gsm8k_goes_on_without_its_terminal(home: Path, tiny_model: Path) -> None:
    settings = (f"model.base={tiny_model}", f"data.train={GSM8K}/train.jsonl", f"data.eval={GSM8K}/test.jsonl", *SMALL)
    first = Terminal(home, "run", "sft-qlora", *(word for setting in settings for word in ("--set", setting)))
    first.until(b"launched")
    (folder,) = runs_home(home).iterdir()
    run = RunFolder(folder)
    wait_for_step(run, 3)
    first.hang_up()

    second = Terminal(home, "watch", "last")
    second.until(b"step ")
    wait_until(lambda: not summary(run).live)
    second.until(b"finished all 60 steps")
    second.hang_up()

    assert (summary(run).state, summary(run).step) == ("finished", 60)
    assert [event["step"] for event in events_of(run, "step")] == list(range(1, 61))
    (data,) = events_of(run, "data")
    assert (data["format"], data["train_rows"], data["eval_rows"]) == ("question-answer", 7473, 16)
    before, *_, after = events_of(run, "eval")
    assert after["eval_loss"] < before["eval_loss"]
    assert (run.adapter / "adapter_model.safetensors").exists()
