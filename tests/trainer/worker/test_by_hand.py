"""Losses of the preference methods and of GRPO against the formulas of their papers, worked out here without TRL."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from tests.trainer.worker.bench import CPU
from tests.trainer.worker.helpers import on_tiny
from trainer.worker import models
from trainer.worker.data import Rows
from trainer.worker.methods import METHODS
from trainer.worker.methods.common import Scene

BETA = 0.1
PROMPTS = ("Mia has 3 plums and gets 4 more. How many?", "Ben has 9 pens and loses 2. How many are left?")
GOOD = ("7", '{"work": "9-2=7", "answer": 7}')
BAD = ("She has no idea.", "2")


def trainer_of(model: Path, out: Path, recipe: str, rows: list[dict[str, Any]], *overrides: str) -> Any:
    """The trainer of a recipe on these rows, its adapter moved away from where it starts: policy is not reference."""
    loaded = on_tiny(model, recipe, "model.tuning=lora", *overrides).recipe
    method = METHODS[loaded.method]
    policy, tokenizer = models.load(loaded, str(model), CPU)
    prepared = Rows(Dataset.from_list(rows), None, columns=rows)
    config = method.build_config(loaded, CPU, out, prepared)
    scene = Scene(CPU, out, str(model), lambda kind, message: None)
    trainer = method.build_trainer(loaded, config, policy, tokenizer, prepared, scene)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return trainer


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def log_probability(trainer: Any, prompt: str, answer: str, *, reference: bool = False) -> tuple[float, int]:
    """(sum of the log-probabilities of the answer's tokens, their number), one token after the other."""
    tokenizer = trainer.processing_class
    turns = asked(prompt)
    start = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template([*turns, *said(answer)], return_dict=True)["input_ids"]
    assert whole[: len(start)] == start
    model = trainer.model.eval()
    with torch.no_grad():
        if reference:
            with model.disable_adapter():
                logits = model(input_ids=torch.tensor([whole])).logits[0]
        else:
            logits = model(input_ids=torch.tensor([whole])).logits[0]
    total = 0.0
    for position in range(len(start), len(whole)):
        row = logits[position - 1].double()
        total += float(row[whole[position]] - torch.logsumexp(row, 0))
    return total, len(whole) - len(start)


def log_ratio(trainer: Any, prompt: str, answer: str) -> float:
    """log pi(answer) - log ref(answer)"""
    ours, _ = log_probability(trainer, prompt, answer)
    theirs, _ = log_probability(trainer, prompt, answer, reference=True)
    return ours - theirs


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


PAIRS = [
    {"prompt": asked(prompt), "chosen": said(good), "rejected": said(bad)}
    for prompt, good, bad in zip(PROMPTS, GOOD, BAD, strict=True)
]


def loss_of(trainer: Any) -> tuple[float, dict[str, float]]:
    """The loss of the one batch that the rows make, and the metrics that go with it."""
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(len(trainer.train_dataset))])
    trainer.model.eval()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
    return float(loss), {key: values[-1] for key, values in trainer._metrics["eval"].items()}


@pytest.mark.parametrize(
    ("recipe", "overrides", "loss"),
    [
        ("dpo", (), lambda chosen, rejected: -math.log(sigmoid(BETA * (chosen - rejected)))),
        ("dpo", ("dpo.loss_type=hinge",), lambda chosen, rejected: max(0.0, 1 - BETA * (chosen - rejected))),
        (
            "dpo",
            ("dpo.loss_type=robust", "dpo.label_smoothing=0.2"),
            lambda chosen, rejected: (
                (
                    -0.8 * math.log(sigmoid(BETA * (chosen - rejected)))
                    + 0.2 * math.log(sigmoid(-BETA * (chosen - rejected)))
                )
                / (1 - 2 * 0.2)
            ),
        ),
    ],
    ids=["sigmoid", "hinge", "robust"],
)
def test_dpo(recipe: str, overrides: tuple[str, ...], loss: Any, tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_of(tiny_model, tmp_path, recipe, PAIRS, f"dpo.beta={BETA}", *overrides)
    found, metrics = loss_of(trainer)
    ratios = [
        (log_ratio(trainer, prompt, good), log_ratio(trainer, prompt, bad))
        for prompt, good, bad in zip(PROMPTS, GOOD, BAD, strict=True)
    ]
    assert all(abs(chosen - rejected) > 0.1 for chosen, rejected in ratios)
    assert found == pytest.approx(sum(loss(*pair) for pair in ratios) / 2, rel=1e-4)
    assert metrics["rewards/chosen"] == pytest.approx(BETA * sum(chosen for chosen, _ in ratios) / 2, rel=1e-3)
    assert metrics["rewards/rejected"] == pytest.approx(BETA * sum(rejected for _, rejected in ratios) / 2, rel=1e-3)
    assert metrics["rewards/accuracies"] == sum(chosen > rejected for chosen, rejected in ratios) / 2


def test_ipo_draws_the_margin_a_token_to_one_half_over_beta(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_of(tiny_model, tmp_path, "ipo", PAIRS, f"dpo.beta={BETA}")
    found, _ = loss_of(trainer)
    losses = []
    for prompt, good, bad in zip(PROMPTS, GOOD, BAD, strict=True):
        chosen = log_ratio(trainer, prompt, good) / log_probability(trainer, prompt, good)[1]
        rejected = log_ratio(trainer, prompt, bad) / log_probability(trainer, prompt, bad)[1]
        losses.append((chosen - rejected - 1 / (2 * BETA)) ** 2)
    assert found == pytest.approx(sum(losses) / 2, rel=1e-4)


def test_losses_are_added_by_their_weights(tiny_model: Path, tmp_path: Path) -> None:
    trainer = trainer_of(
        tiny_model, tmp_path, "dpo", PAIRS, "dpo.loss_type=[sigmoid, sft]", "dpo.loss_weights=[1.0, 0.5]"
    )
    found, _ = loss_of(trainer)
    sigmoid_loss = sum(
        -math.log(sigmoid(BETA * (log_ratio(trainer, prompt, good) - log_ratio(trainer, prompt, bad))))
        for prompt, good, bad in zip(PROMPTS, GOOD, BAD, strict=True)
    )
    likely = [log_probability(trainer, prompt, good) for prompt, good in zip(PROMPTS, GOOD, strict=True)]
    sft = -sum(total for total, _ in likely) / sum(tokens for _, tokens in likely)
    assert found == pytest.approx(sigmoid_loss / 2 + 0.5 * sft, rel=1e-4)


def test_kto(tiny_model: Path, tmp_path: Path) -> None:
    """Row 0 is a thumb up, row 1 a thumb down; the divergence is estimated from each prompt with the other's answer."""
    rows = [
        {"prompt": asked(PROMPTS[0]), "completion": said(GOOD[0]), "label": True},
        {"prompt": asked(PROMPTS[1]), "completion": said(BAD[1]), "label": False},
    ]
    trainer = trainer_of(
        tiny_model, tmp_path, "kto", rows,
        "training.per_device_train_batch_size=2", f"kto.beta={BETA}", "kto.desirable_weight=1.5",
    )  # fmt: skip
    found, metrics = loss_of(trainer)
    crossed = [log_ratio(trainer, PROMPTS[0], BAD[1]), log_ratio(trainer, PROMPTS[1], GOOD[0])]
    kl = max(sum(crossed) / 2, 0.0)
    up, down = log_ratio(trainer, PROMPTS[0], GOOD[0]), log_ratio(trainer, PROMPTS[1], BAD[1])
    losses = [1.5 * (1 - sigmoid(BETA * (up - kl))), 1 - sigmoid(BETA * (kl - down))]
    assert metrics["kl"] == pytest.approx(kl, rel=1e-3, abs=1e-5)
    assert found == pytest.approx(sum(losses) / 2, rel=1e-4)


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_grpo(loss_type: str, tiny_model: Path, tmp_path: Path) -> None:
    """A group of two: advantages are the rewards' distance from their mean over their deviation; ratios are clipped."""
    rows = [{"prompt": asked(PROMPTS[0]), "row": 0, "answer": "7"}]
    trainer = trainer_of(
        tiny_model, tmp_path, "rft-math", rows,
        f"grpo.loss_type={loss_type}", "grpo.num_generations=2", "training.per_device_train_batch_size=2",
        "grpo.beta=0.04", "grpo.epsilon=0.2", "grpo.epsilon_high=0.28", "grpo.max_completion_length=8",
    )  # fmt: skip
    tokenizer = trainer.processing_class
    rewards = (1.0, 0.0)
    spread = torch.tensor(rewards).std().item()
    advantages = [(reward - 0.5) / (spread + 1e-4) for reward in rewards]
    completions = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("7 plums", "8")]
    prompt = tokenizer.apply_chat_template(asked(PROMPTS[0]), add_generation_prompt=True, return_dict=True)["input_ids"]
    longest = max(map(len, completions))
    ours = [token_log_probabilities(trainer, prompt, ids) for ids in completions]
    # The old policy was 0.5 less sure of each token: every ratio is e^0.5, above the clip.
    old = [[value - 0.5 for value in row] for row in ours]
    reference = [token_log_probabilities(trainer, prompt, ids, reference=True) for ids in completions]

    def padded(lists: list[list[float]], value: float) -> torch.Tensor:
        return torch.tensor([[*row, *[value] * (longest - len(row))] for row in lists])

    mask = padded([[1.0] * len(ids) for ids in completions], 0.0).long()
    batch = {
        "prompt_ids": torch.tensor([prompt] * 2),
        "prompt_mask": torch.ones(2, len(prompt), dtype=torch.long),
        "completion_ids": padded([list(map(float, ids)) for ids in completions], tokenizer.pad_token_id).long(),
        "completion_mask": mask,
        "advantages": torch.tensor(advantages),
        "old_per_token_logps": padded(old, 0.0),
        "ref_per_token_logps": padded(reference, 0.0),
        "num_items_in_batch": mask.sum(),
    }
    trainer.model.eval()
    with torch.no_grad():
        found = float(trainer._compute_loss(trainer.model, batch))

    ratio = math.exp(0.5)
    rows_of_losses = []
    for advantage, logps, refs in zip(advantages, ours, reference, strict=True):
        gained = min(ratio * advantage, max(min(ratio, 1.28), 0.8) * advantage)
        rows_of_losses.append(
            [
                -gained + 0.04 * ratio * (math.exp(ref - logp) - (ref - logp) - 1)
                for logp, ref in zip(logps, refs, strict=True)
            ]
        )
    tokens = sum(map(len, rows_of_losses))
    by_type = {
        "grpo": sum(sum(row) / len(row) for row in rows_of_losses) / 2,
        "dapo": sum(map(sum, rows_of_losses)) / tokens,
        "dr_grpo": sum(map(sum, rows_of_losses)) / (2 * 8),
    }
    assert found == pytest.approx(by_type[loss_type], rel=1e-4)


def token_log_probabilities(
    trainer: Any, prompt: list[int], answer: list[int], *, reference: bool = False
) -> list[float]:
    model = trainer.model.eval()
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        if reference:
            with model.disable_adapter():
                logits = model(input_ids=ids).logits[0]
        else:
            logits = model(input_ids=ids).logits[0]
    rows = torch.log_softmax(logits.double(), dim=-1)
    return [float(rows[len(prompt) + index - 1, token]) for index, token in enumerate(answer)]
