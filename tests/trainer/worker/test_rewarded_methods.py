"""Every method that learns from preferences or rewards trains, says how it goes, and leaves a result that loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.worker.helpers import Worked, new_run, on_tiny, work, work_here
from trainer.rewards import sandbox
from trainer.runs.rollouts import RolloutReader

Works = dict[str, Worked]
LENGTH = "rewards={short: {kind: length, soft: 5, hard: 60}}"
PAIRED = {
    "dpo": ("rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected", "logps/chosen"),
    "ipo": ("rewards/margins", "rewards/accuracies"),
    "kto": ("kl", "rewards/chosen", "logps/rejected"),
    "reward-model": ("accuracy", "margin", "mean_reward"),
}
ROLLED = {
    "rft-json": (
        "reward",
        "reward_std",
        "frac_reward_zero_std",
        "rewards/short/mean",
        "entropy",
        "completions/mean_length",
    ),
    "rlhf": ("reward", "rewards/preference/mean", "kl", "completions/clipped_ratio"),
    "ppo": ("reward", "rewards/preference/mean", "objective/kl", "loss/value_avg", "val/explained_variance"),
}


@pytest.fixture(scope="module")
def works(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Works:
    """Three steps of each recipe, on the tiny model."""
    home = tmp_path_factory.mktemp("rewarded")
    done = {name: work(home, tiny_model, name, name=name) for name in PAIRED}
    done["rft-json"] = work(home, tiny_model, "rft-json", "grpo.num_generations=4", LENGTH, name="rft-json")
    for name in ("rlhf", "ppo"):  # their reward model is the run called reward-model
        done[name] = work(home, tiny_model, name, "training.learning_rate=1e-4", name=name)
    return done


@pytest.mark.parametrize("name", [*PAIRED, *ROLLED])
def test_a_method_trains_and_tells_its_own_numbers(name: str, works: Works) -> None:
    worked = works[name]
    assert worked.verdict["kind"] == "completed"
    steps, evals = worked.events("step"), worked.events("eval")
    assert [step["step"] for step in steps] == [1, 2, 3]
    for metric in (PAIRED | ROLLED)[name]:
        assert any(isinstance(step.get(metric), float | int) for step in steps), metric
    assert {event["step"] for event in evals} == {0, 3}
    assert all(event.get("eval_loss") is not None for event in evals)


@pytest.mark.parametrize("name", ["dpo", "ipo", "reward-model"])
def test_the_held_out_loss_falls(name: str, works: Works) -> None:
    before, after = works[name].events("eval")
    assert after["eval_loss"] < before["eval_loss"]


@pytest.mark.parametrize("name", list(ROLLED))
def test_the_completions_of_every_step_are_kept_with_their_rewards(name: str, works: Works) -> None:
    reader = RolloutReader(works[name].run)
    logged = reader.steps()
    assert logged == [1, 2, 3]
    means = {step["step"]: step.get("reward") for step in works[name].events("step")}
    for number in logged:
        rollouts = [one for group in reader.groups(number) for one in group.rollouts]
        assert len(rollouts) == 4  # the training step's, not the evaluation's of the same number
        if means[number] is not None:
            total = sum(one.total or 0.0 for one in rollouts) / len(rollouts)
            assert total == pytest.approx(means[number], abs=1e-5)


@pytest.mark.parametrize("name", list(ROLLED))
def test_a_step_is_split_into_its_parts(name: str, works: Works) -> None:
    first = works[name].events("step")[0]
    assert all(first[part] > 0 for part in ("generate_s", "score_s", "learn_s"))
    assert first["generate_s"] + first["score_s"] + first["learn_s"] == pytest.approx(first["step_time_s"], rel=1e-6)


def test_the_reward_of_rlhf_is_the_reward_models_own(works: Works, tiny_model: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["score"],
    )
    base = AutoModelForSequenceClassification.from_pretrained(
        tiny_model, num_labels=1, dtype=torch.float32, quantization_config=quantized
    )
    model = PeftModel.from_pretrained(base, str(works["reward-model"].run.adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model.config.pad_token_id = tokenizer.pad_token_id
    group = RolloutReader(works["rlhf"].run).groups(1)[0]
    for rollout in group.rollouts:
        turns = [{"role": "user", "content": group.asked}, {"role": "assistant", "content": rollout.completion}]
        ids = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            score = float(model(input_ids=ids).logits[0, 0])
        assert rollout.rewards["preference"] == pytest.approx(score, abs=2e-3)


def function(tmp_path: Path, body: str) -> str:
    file = tmp_path / "mine.py"
    file.write_text(f"def reward(prompts, completions, **columns):\n    {body}\n")
    return f"kind: function, file: {file}"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("raise KeyError('answer')", "raised"),
        ("return [float('nan')] * len(completions)", "not-a-number"),
        ("return [1.0]  * (len(completions) + 1)", "wrong-length"),
        ("import time; time.sleep(60)", "timeout"),
    ],
)
def test_a_reward_that_fails_is_told_and_the_run_goes_on(
    body: str, kind: str, tiny_model: Path, tmp_path: Path
) -> None:
    worked = run_with(tiny_model, tmp_path, function(tmp_path, body), "evaluation.eval_on_start=false")
    assert worked.code == 0, worked.verdict
    warnings = [event["message"] for event in worked.events("warning") if event["kind"] == "reward"]
    assert any(f"reward own {kind}" in message for message in warnings)
    assert all("rewards/own/mean" not in step or step["rewards/own/mean"] is None for step in worked.events("step"))


def test_a_reward_that_fails_may_end_the_run_which_is_saved(tiny_model: Path, tmp_path: Path) -> None:
    body = (
        "import pathlib; seen = pathlib.Path(__file__ + '.seen'); first = not seen.exists(); seen.touch(); "
        "assert first; return [float(len(text)) for text in completions]"
    )
    worked = run_with(
        tiny_model, tmp_path, f"{function(tmp_path, body)}, on_error: stop", "data.eval=none", "data.eval_fraction=0"
    )
    assert worked.code == 1
    assert worked.verdict["kind"] == "reward"
    assert "own" in worked.verdict["message"]
    assert [step["step"] for step in worked.events("step")] == [1, 2]
    assert worked.run.latest_checkpoint() == worked.run.checkpoints / "checkpoint-2"


def run_with(model: Path, home: Path, own: str, *overrides: str) -> Worked:
    rewards = f"rewards={{own: {{{own}, timeout_s: 0.5, retries: 0}}, short: {{kind: length, soft: 5, hard: 60}}}}"
    loaded = on_tiny(
        model, "rft-json", "training.max_steps=3", "grpo.num_generations=4", "evaluation.samples=0", rewards, *overrides
    )
    return work_here(new_run(loaded.recipe, home))


@pytest.fixture
def foreign(tiny_model: Path, tmp_path: Path) -> Path:
    """A reward model with a tokenizer that has one token more than the policy's."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens(["<|foreign|>"])
    config = AutoConfig.from_pretrained(tiny_model)
    config.num_labels = 1
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "foreign")
    tokenizer.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


def test_a_reward_model_with_another_tokenizer_is_told(foreign: Path, tiny_model: Path, home: Path) -> None:
    worked = work(home, tiny_model, "rlhf", f"rewards.preference.base={foreign}")
    (warning,) = [event for event in worked.events("warning") if event["kind"] == "tokenizer"]
    assert "another tokenizer" in warning["message"]


def test_a_value_model_with_another_tokenizer_is_refused(foreign: Path, tiny_model: Path, home: Path) -> None:
    loaded = on_tiny(tiny_model, "ppo", f"ppo.value_base={foreign}", LENGTH)
    worked = work_here(new_run(loaded.recipe, home))
    assert (worked.verdict["kind"], worked.verdict["exit_code"]) == ("bad-model", 2)
    assert "another tokenizer" in worked.verdict["message"]


def test_a_model_without_a_score_is_no_reward_model(tiny_model: Path, home: Path) -> None:
    loaded = on_tiny(tiny_model, "rlhf", f"rewards.preference.base={tiny_model}")
    worked = work_here(new_run(loaded.recipe, home))
    assert (worked.verdict["kind"], worked.verdict["exit_code"]) == ("bad-model", 2)
    assert "no score head" in worked.verdict["message"]


def test_rft_code_runs_what_is_generated_against_the_rows_tests(tiny_model: Path, home: Path, tmp_path: Path) -> None:
    if sandbox.available() is None:
        pytest.skip("this box has neither bubblewrap nor user namespaces to run generated code in")
    rows = [{"prompt": f"Write f that adds {n}.", "test": [f"assert f(1) == {n + 1}"]} for n in range(8)]
    worked = work(home, tiny_model, "rft-code", *on_rows(tmp_path, rows))
    rollouts = [one for group in RolloutReader(worked.run).groups(3) for one in group.rollouts]
    assert all(one.rewards["tests"] == 0.0 and "0 of 1 tests passed" in one.reasons["tests"] for one in rollouts)


def test_rft_tools_compares_calls(tiny_model: Path, home: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Weather in town {n}?", "tool_calls": {"name": "weather", "arguments": {"n": n}}} for n in range(8)
    ]
    worked = work(home, tiny_model, "rft-tools", *on_rows(tmp_path, rows))
    rollouts = [one for group in RolloutReader(worked.run).groups(3) for one in group.rollouts]
    assert all(one.rewards["call"] == 0.0 and one.reasons["call"] for one in rollouts)


def on_rows(folder: Path, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data.train={file}", "data.eval=none", "data.eval_fraction=0", "grpo.num_generations=2"
