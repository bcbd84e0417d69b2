"""PPO on real TRL: rollouts scored as by hand, both models trained, and a resumed run that goes on as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from recipes.errors import RecipeError
from tests.trainer.worker.helpers import on_tiny
from trainer.errors import ModelError
from trainer.worker import models
from trainer.worker.ppo import PPOConfig, PPOTrainer

EOS = 2
MEASURED = (
    "loss", "grad_norm", "entropy", "reward", "rewards/even/mean", "completions/mean_length", "objective/kl",
    "objective/scores", "objective/rlhf_reward", "policy/approxkl_avg", "policy/clipfrac_avg", "loss/policy_avg",
    "loss/value_avg", "val/clipfrac_avg", "val/explained_variance",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def even(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """The share of tokens with an even id."""
    return [sum(token % 2 == 0 for token in ids) / len(ids) for ids in completion_ids]


@dataclass(frozen=True)
class World:
    """Builds trainers on one model; `settings` are fields of PPOConfig."""

    model: Path
    out: Path

    def policy(self, **options: Any) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.model, **options)

    def value(self, labels: int = 1, **options: Any) -> Any:
        torch.manual_seed(0)  # of the new head
        return AutoModelForSequenceClassification.from_pretrained(self.model, num_labels=labels, **options)

    def trainer(
        self, policy: Any = None, value: Any = None, *, reward: Any = even, peft: Any = None, held_out: Any = None,
        name: str = "out", **settings: Any,
    ) -> PPOTrainer:  # fmt: skip
        usual: dict[str, Any] = {
            "output_dir": str(self.out / name),
            "max_steps": 2,
            "per_device_train_batch_size": 8,
            "num_generations": 2,
            "max_completion_length": 6,
            "learning_rate": 3e-3,
            "lr_scheduler_type": "constant",
            "activation_checkpointing": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "bf16": False,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
        }
        prompts = [{"prompt": "7" * (1 + a) + f"+{b}="} for a in range(5) for b in range(8)]
        return PPOTrainer(
            model=policy or self.policy(),
            value_model=value or self.value(),
            reward_funcs=reward,
            args=PPOConfig(**{**usual, **settings}),
            train_dataset=Dataset.from_list(prompts),
            eval_dataset=held_out,
            processing_class=AutoTokenizer.from_pretrained(self.model),
            peft_config=peft,
        )


@pytest.fixture
def world(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return World(tiny_model, tmp_path)


def adapter(task_type: str = "CAUSAL_LM", **options: Any) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type=task_type, **options)


def logs(trainer: PPOTrainer) -> list[dict[str, float]]:
    return [log for log in trainer.state.log_history if "loss" in log]


def rollouts(trainer: PPOTrainer) -> dict[str, Tensor]:
    """The newest batch that was learned from, as TRL keeps it."""
    (batch,) = trainer._buffered_inputs
    return dict(batch)


def weights(model: Any) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


# --- rollouts ---


def test_without_values_and_kl_the_returns_are_the_discounted_score(world: World) -> None:
    value = world.value()
    torch.nn.init.zeros_(value.score.weight)
    trainer = world.trainer(value=value, max_steps=1, kl_coef=0.0, gamma=0.9, lam=1.0)
    trainer.train()
    batch = rollouts(trainer)
    expected, raw = torch.zeros_like(batch["returns"]), []
    for row, (ids, mask) in enumerate(zip(batch["completion_ids"], batch["completion_mask"], strict=True)):
        length = int(mask.sum())
        score = even([ids[:length].tolist()])[0]
        expected[row, :length] = torch.tensor([score * 0.9 ** (length - 1 - t) for t in range(length)])
        raw += expected[row, :length].tolist()
    assert torch.equal(batch["values"], torch.zeros_like(batch["values"]))
    torch.testing.assert_close(batch["returns"], expected)
    mean = sum(raw) / len(raw)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in raw) / len(raw))
    torch.testing.assert_close(
        batch["advantages"], (expected - mean) / deviation * batch["completion_mask"], rtol=1e-4, atol=1e-4
    )


def test_a_value_is_that_of_the_state_before_its_token(world: World) -> None:
    """Each completion by itself, without padding: V of the first token is read at the prompt's last one."""
    trainer = world.trainer(max_steps=1, learning_rate=0.0)
    trainer.train()
    batch, value = rollouts(trainer), trainer.value_model
    assert len({int(mask.sum()) for mask in batch["prompt_mask"]}) > 1, "prompts of one length prove no padding"
    for row in range(8):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        completion = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        with torch.no_grad():
            states = value.model(torch.cat([prompt, completion])[None]).last_hidden_state
            alone = value.score(states)[0, len(prompt) - 1 : -1, 0]
        torch.testing.assert_close(batch["values"][row, : len(completion)], alone, rtol=1e-4, atol=1e-5)


def test_a_completion_that_does_not_end_is_penalised(world: World) -> None:
    trainer = world.trainer(
        reward=lambda completions, **_: [1.0] * len(completions),
        max_steps=1, kl_coef=0.0, lam=1.0, missing_eos_penalty=0.25, max_completion_length=40,
        generation_kwargs={"sequence_bias": {(EOS,): 3.0}},
    )  # fmt: skip
    trainer.train()
    batch = rollouts(trainer)
    ended = ((batch["completion_ids"] == EOS) & batch["completion_mask"].bool()).any(dim=1)
    assert 0 < ended.sum() < len(ended), "the seed has to give both"
    torch.testing.assert_close(batch["returns"][:, 0], torch.where(ended, 1.0, 0.75))
    assert logs(trainer)[0]["objective/scores"] == pytest.approx(float(torch.where(ended, 1.0, 0.75).mean()))


def test_what_no_reward_scored_teaches_nothing(world: World) -> None:
    def first_half(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [*even(completion_ids[:4]), *[None] * (len(completion_ids) - 4)]

    trainer = world.trainer(reward=first_half, max_steps=1)
    trainer.train()
    batch = rollouts(trainer)
    scored = batch["loss_mask"].any(dim=1)
    assert scored.sum() == 4
    assert torch.equal(batch["advantages"] != 0, batch["loss_mask"].bool())
    assert math.isfinite(logs(trainer)[0]["loss"])


# --- training ---


def lora_and_full(world: World) -> dict[str, Any]:
    return {"peft": adapter(), "kl_estimator": "k3"}


def full_and_lora(world: World) -> dict[str, Any]:
    return {"value": get_peft_model(world.value(), adapter("SEQ_CLS")), "whiten_rewards": True}


def trained_adapter(world: World) -> dict[str, Any]:
    return {"policy": get_peft_model(world.policy(), adapter(init_lora_weights=False)), "disable_dropout": True}


def four_bits(world: World) -> dict[str, Any]:
    recipe = on_tiny(world.model, "sft-qlora").recipe
    device = models.pick_device(recipe.resources)
    policy, _ = models.load(recipe, str(world.model), device)
    value, _ = models.load(recipe, str(world.model), device, scores=True)
    return {
        "policy": policy,
        "peft": adapter(),
        "value": get_peft_model(value, adapter("SEQ_CLS")),
        "activation_checkpointing": True,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }


def bfloat16(world: World) -> dict[str, Any]:
    value = get_peft_model(world.value(dtype=torch.bfloat16), adapter("SEQ_CLS"))
    return {"policy": world.policy(dtype=torch.bfloat16), "peft": adapter(), "value": value}


@pytest.mark.parametrize("tuning", [lora_and_full, full_and_lora, trained_adapter, four_bits, bfloat16])
def test_what_is_trainable_moves_and_the_base_stays(tuning: Any, world: World) -> None:
    trainer = world.trainer(**tuning(world))
    before = [weights(trainer.model), weights(trainer.value_model)]
    trainer.train()
    for was, model in zip(before, (trainer.model, trainer.value_model), strict=True):
        moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, was[name])}
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        assert moved == trained
        assert isinstance(model, PeftModel) == (trained < was.keys())
    first, second = logs(trainer)
    assert all(math.isfinite(log[key]) for log in (first, second) for key in MEASURED)
    assert first["objective/kl"] == pytest.approx(0.0, abs=1e-4)
    assert abs(second["objective/kl"]) > 1e-4
    assert first["objective/rlhf_reward"] == pytest.approx(first["reward"], abs=1e-4)


def test_batches_that_are_added_up_give_the_step_of_one_big_batch(world: World) -> None:
    """Without dice, and without Adam, whose first step takes the sign of rounding errors too."""
    plain: dict[str, Any] = {"generation_kwargs": {"do_sample": False}, "optim": "sgd", "learning_rate": 0.1}
    whole = world.trainer(**plain)
    halves = world.trainer(**plain, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    for trainer in (whole, halves):
        trainer.train()
    for one, two in ((whole.model, halves.model), (whole.value_model, halves.value_model)):
        for name, weight in one.named_parameters():
            torch.testing.assert_close(weight, two.get_parameter(name), rtol=1e-3, atol=1e-5, msg=name)
    assert logs(whole)[1]["loss"] == pytest.approx(logs(halves)[1]["loss"], rel=1e-4)


@pytest.mark.parametrize(("accumulated", "steps_per_generation"), [(1, 1), (1, 2), (2, 2), (2, 4)])
def test_the_loss_is_the_sum_of_its_parts(accumulated: int, steps_per_generation: int, world: World) -> None:
    trainer = world.trainer(
        gradient_accumulation_steps=accumulated, steps_per_generation=steps_per_generation, vf_coef=0.5,
        per_device_train_batch_size=4, max_steps=2, generation_kwargs={"min_new_tokens": 6},
    )  # fmt: skip
    trainer.train()
    for log in logs(trainer):
        assert log["loss"] == pytest.approx(log["loss/policy_avg"] + 0.5 * log["loss/value_avg"], rel=1e-4)


@pytest.mark.parametrize("tuning", [lora_and_full, full_and_lora])
def test_a_resumed_run_goes_on_as_if_unbroken(tuning: Any, world: World) -> None:
    """The checkpoint lies between the two iterations over one batch of rollouts."""
    settings: dict[str, Any] = {"max_steps": 6, "num_iterations": 2, "save_strategy": "steps", "save_steps": 3}
    whole = world.trainer(**tuning(world), **settings)
    whole.train()
    again = world.trainer(**tuning(world), **settings, name="again")
    again.train(resume_from_checkpoint=str(world.out / "out" / "checkpoint-3"))
    keys = ("loss", "grad_norm", "loss/value_avg", "policy/approxkl_avg", "reward", "objective/kl")
    curves = [[[log.get(key) for key in keys] for log in logs(trainer)] for trainer in (whole, again)]
    assert len(curves[0]) == 6
    assert curves[1] == curves[0]
    for one, two in ((whole.model, again.model), (whole.value_model, again.value_model)):
        for name, weight in one.named_parameters():
            assert torch.equal(weight, two.get_parameter(name)), name


def test_the_saved_value_model_loads_by_itself(world: World) -> None:
    trainer = world.trainer(max_steps=1, save_strategy="steps", save_steps=1)
    trainer.train()
    saved = AutoModelForSequenceClassification.from_pretrained(world.out / "out" / "checkpoint-1" / "value_model")
    for name, weight in trainer.value_model.named_parameters():
        assert torch.equal(weight, saved.get_parameter(name)), name


def test_the_policy_learns_and_so_do_the_values(world: World) -> None:
    """Even tokens pay, and prompts that start with one 7 pay besides: no policy can change that, a value can know it."""

    def lucky(prompts: list[str], **_: Any) -> list[float]:
        return [float(prompt.startswith("7+")) for prompt in prompts]

    trainer = world.trainer(
        reward=[even, lucky], max_steps=60, per_device_train_batch_size=32, num_iterations=2, vf_coef=1.0
    )
    trainer.train()
    rated = [log for log in logs(trainer) if "reward" in log]
    paid = [log["rewards/even/mean"] for log in rated]
    assert sum(paid[-3:]) / 3 > sum(paid[:3]) / 3 + 0.2
    explained = [log["val/explained_variance"] for log in rated]
    assert sum(explained[-3:]) / 3 > 0.4
    assert max(log["policy/clipfrac_avg"] for log in logs(trainer)) > 0


def test_the_gradients_of_each_model_are_held_to_the_norm(world: World) -> None:
    trainer = world.trainer(max_steps=1, optim="sgd", learning_rate=1.0, max_grad_norm=1e-2, vf_coef=10.0)
    before = [weights(trainer.model), weights(trainer.value_model)]
    trainer.train()
    for was, model in zip(before, (trainer.model, trainer.value_model), strict=True):
        way = math.sqrt(sum(float(((w - was[name]) ** 2).sum()) for name, w in model.named_parameters()))
        assert way == pytest.approx(1e-2, rel=1e-2)


@pytest.fixture(scope="module")
def usual_logs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float]]:
    return knobs_run(World(tiny_model, tmp_path_factory.mktemp("usual")))


def knobs_run(world: World, **knobs: Any) -> list[tuple[float, float]]:
    """Loss and gradient of four steps over two batches of rollouts."""
    trainer = world.trainer(max_steps=4, num_iterations=2, learning_rate=1e-2, **knobs)
    trainer.train()
    return [(log["loss"], log["grad_norm"]) for log in logs(trainer)]


@pytest.mark.parametrize(
    "knob",
    [
        {}, {"kl_coef": 0.5}, {"kl_estimator": "k3"}, {"cliprange": 0.01}, {"cliprange_value": 0.01}, {"vf_coef": 0.5},
        {"gamma": 0.5}, {"lam": 0.5}, {"whiten_rewards": True}, {"missing_eos_penalty": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_every_knob_changes_the_numbers(knob: dict[str, Any], usual_logs: list[Any], world: World) -> None:
    assert (knobs_run(world, **knob) == usual_logs) == (knob == {})


def test_held_out_prompts_are_evaluated(world: World) -> None:
    held_out = Dataset.from_list([{"prompt": f"{a}-1="} for a in range(8)])
    trainer = world.trainer(
        held_out=held_out, max_steps=1, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=16
    )
    trainer.train()
    (evaluated,) = [log for log in trainer.state.log_history if "eval_loss" in log]
    assert all(math.isfinite(evaluated[f"eval_{key}"]) for key in MEASURED if key != "grad_norm")
    assert not trainer.value_model.training


def test_completions_are_logged_with_the_mean_advantage_of_their_tokens(world: World) -> None:
    trainer = world.trainer(max_steps=1, log_completions=True)
    trainer.train()
    batch = rollouts(trainer)
    means = (batch["advantages"] * batch["loss_mask"]).sum(dim=1) / batch["loss_mask"].sum(dim=1)
    table = pd.read_parquet(world.out / "out" / "completions" / "completions_00001.parquet")
    assert sorted(table["advantage"]) == pytest.approx(sorted(means.tolist()))


# --- refusals ---


def test_a_setting_of_grpo_is_refused(world: World) -> None:
    with pytest.raises(RecipeError, match="loss_type is a setting of GRPO"):
        world.trainer(loss_type="dr_grpo")
    with pytest.raises(RecipeError, match="beta is a setting of GRPO"):
        world.trainer(beta=0.1)


def test_a_model_that_gives_no_value_is_refused(world: World) -> None:
    frozen = get_peft_model(world.value(), LoraConfig(target_modules=["q_proj"]))
    for wrong in (world.value(labels=2), world.policy(), frozen):
        with pytest.raises(ModelError, match="is no value model"):
            world.trainer(value=wrong)
