"""Every method trains, reports what it trains, and leaves a result that loads; what cannot train says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.worker.helpers import events, new_run, on_tiny, work_here
from trainer.runs.folder import RunFolder
from trainer.runs.registry import summary

Runs = dict[str, RunFolder]
TUNING = {"cpt": "qlora", "sft-full": "full", "sft-lora": "lora", "sft-qlora": "qlora"}


@pytest.mark.parametrize("name", TUNING)
def test_a_method_trains_its_steps_and_finishes(name: str, method_runs: Runs) -> None:
    run = method_runs[name]
    now = summary(run)
    assert now.state == "finished", now.verdict
    assert now.verdict is not None
    assert (now.verdict.kind, now.verdict.exit_code) == ("completed", 0)
    steps = events(run, "step")
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert steps[-1]["loss"] < steps[0]["loss"]
    before, after = events(run, "eval")
    assert (before["step"], after["step"]) == (0, 3)
    assert after["eval_loss"] < before["eval_loss"]
    (data,) = events(run, "data")
    assert data["format"] == ("text" if name == "cpt" else "prompt-completion")
    assert (data["masked_tokens"] == 0) == (name == "cpt")
    assert run.latest_checkpoint() == run.checkpoints / "checkpoint-3"


@pytest.mark.parametrize("name", [name for name, tuning in TUNING.items() if tuning != "full"])
def test_the_adapter_loads_again_onto_its_base(name: str, method_runs: Runs, tiny_model: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = method_runs[name]
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    weights = sum(weight.numel() for weight in base.parameters())
    model = PeftModel.from_pretrained(base, run.adapter)
    adapter = {name: weight for name, weight in model.named_parameters() if "lora_" in name}
    assert all(weight.abs().max() > 0 for name, weight in adapter.items() if "lora_B" in name)
    assert AutoTokenizer.from_pretrained(run.adapter).chat_template
    (said,) = events(run, "model")
    trained = sum(weight.numel() for weight in adapter.values())
    assert (said["trainable"], said["parameters"]) == (trained, trained + weights)
    assert said["trainable_share"] == pytest.approx(trained / (trained + weights))
    assert said["tuning"] == TUNING[name]


def test_full_tuning_leaves_a_whole_model_whose_weights_moved(method_runs: Runs, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    run = method_runs["sft-full"]
    before = dict(AutoModelForCausalLM.from_pretrained(tiny_model).named_parameters())
    after = dict(AutoModelForCausalLM.from_pretrained(run.adapter).named_parameters())
    assert before.keys() == after.keys()
    assert not any(torch.equal(weight, after[name]) for name, weight in before.items())
    (said,) = events(run, "model")
    assert said["trainable_share"] == 1.0
    assert said["parameters"] == said["trainable"] == sum(weight.numel() for weight in after.values())


@pytest.mark.parametrize(
    ("overrides", "verdict"),
    [
        pytest.param(
            ("sft.packing=true", "model.attn_implementation=sdpa"),
            {"kind": "error", "exit_code": 2, "message": "sft.packing needs flash attention", "hint": "false"},
            id="packing without flash attention",
        ),
        pytest.param(
            ("training.extra.learning_rat=1",),
            {"kind": "error", "exit_code": 2, "message": "training.extra.learning_rat ", "hint": "spelling"},
            id="no field of TRL",
        ),
        pytest.param(
            ("training.learning_rate=1e30", "training.max_steps=20"),
            {"kind": "nonfinite", "exit_code": 1, "message": "step 4", "hint": "training.learning_rate"},
            id="loss is no number",
        ),
        pytest.param(
            ("training.optim=adamm",),
            {"kind": "error", "exit_code": 2, "message": "adamm", "hint": "settings"},
            id="no optimizer",
        ),
    ],
)
def test_what_cannot_train_ends_with_a_clear_verdict(
    overrides: tuple[str, ...], verdict: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    loaded = on_tiny(tiny_model, "sft-lora", "training.max_steps=3", *overrides)
    worked = work_here(new_run(loaded.recipe, tmp_path))
    assert worked.code == 1
    said = worked.verdict
    assert (said["kind"], said["exit_code"]) == (verdict["kind"], verdict["exit_code"])
    assert verdict["message"] in said["message"]
    assert verdict["hint"] in said["hint"]
    status = worked.run.read_status()
    assert status is not None
    assert (status.state, status.verdict) == ("failed", said)
    assert not worked.run.adapter.exists()


def test_a_loss_that_is_no_number_is_told_at_once_and_never_written_as_one(tiny_model: Path, tmp_path: Path) -> None:
    loaded = on_tiny(tiny_model, "sft-lora", "training.learning_rate=1e30", "training.max_steps=20")
    worked = work_here(new_run(loaded.recipe, tmp_path))
    steps = worked.events("step")
    assert [step["loss"] is None for step in steps] == [False, True, True, True]
    assert all("loss" in step["nonfinite"] for step in steps[1:])
    assert [alert["kind"] for alert in worked.events("alert")] == ["nonfinite"]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the events")

    for line in worked.run.events.read_text().splitlines():
        json.loads(line, parse_constant=refuse)
