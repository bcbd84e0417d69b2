"""PPO's arithmetic against numbers worked out by hand: two completions, of three tokens and of two."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainer.worker.advantages import (
    clipped_policy_loss,
    clipped_value_loss,
    estimate_advantages,
    estimate_kl,
    explained_variance,
    masked_mean,
    masked_whiten,
    penalise_missing_eos,
    token_rewards,
)

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
KL = torch.tensor([[0.2, -0.1, 0.4], [0.5, 0.1, 9.0]])
VALUES = torch.tensor([[0.5, 0.4, 0.3], [0.1, -0.2, 7.0]])
# -0.5 * KL, and the scores 1.0 and -0.5 at the last tokens
REWARDS = torch.tensor([[-0.1, 0.05, 0.8], [-0.25, -0.55, 0.0]])


def same(actual: Tensor, expected: list[list[float]] | list[float] | float) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_a_score_is_added_at_the_last_token_and_kl_taken_off_everywhere() -> None:
    same(token_rewards(torch.tensor([1.0, -0.5]), KL, MASK, 0.5), REWARDS.tolist())


def test_a_completion_that_is_masked_whole_has_no_reward() -> None:
    rewards = token_rewards(torch.tensor([1.0, 2.0]), KL, torch.tensor([[1, 1, 1], [0, 0, 0]]), 0.5)
    same(rewards[1], [0.0, 0.0, 0.0])


def test_advantages_and_returns_are_those_of_the_worked_example() -> None:
    """Surprises: -0.24, -0.08, 0.5 and -0.53, -0.35; each advantage adds 0.9 * 0.8 of the one behind it."""
    advantages, returns = estimate_advantages(REWARDS, VALUES, MASK, gamma=0.9, lam=0.8)
    same(advantages, [[-0.0384, 0.28, 0.5], [-0.782, -0.35, 0.0]])
    same(returns, [[0.4616, 0.68, 0.8], [-0.682, -0.55, 0.0]])


def test_what_stands_behind_the_mask_changes_nothing() -> None:
    loud_rewards, loud_values = REWARDS.clone(), VALUES.clone()
    loud_rewards[1, 2], loud_values[1, 2] = 100.0, -100.0
    for quiet, loud in zip(
        estimate_advantages(REWARDS, VALUES, MASK, 0.9, 0.8),
        estimate_advantages(loud_rewards, loud_values, MASK, 0.9, 0.8),
        strict=True,
    ):
        assert torch.equal(quiet, loud)


def test_lambda_decides_between_one_step_and_the_whole_way() -> None:
    one_step, _ = estimate_advantages(REWARDS, VALUES, MASK, gamma=0.9, lam=0.0)
    same(one_step, [[-0.24, -0.08, 0.5], [-0.53, -0.35, 0.0]])
    _, whole_way = estimate_advantages(REWARDS, VALUES, MASK, gamma=1.0, lam=1.0)
    same(whole_way, [[0.75, 0.85, 0.8], [-0.8, -0.55, 0.0]])


def test_the_mean_is_over_the_mask_and_zero_where_it_is_empty() -> None:
    x = torch.tensor([[2.0, 6.0, 99.0]])
    same(masked_mean(x, torch.tensor([[1, 1, 0]])), 4.0)
    same(masked_mean(x, torch.zeros(1, 3)), 0.0)


def test_whitening_sees_the_mask_alone_and_may_keep_the_mean() -> None:
    x, mask = torch.tensor([[2.0, 6.0, 99.0]]), torch.tensor([[1, 1, 0]])
    same(masked_whiten(x, mask), [[-1.0, 1.0, 0.0]])
    same(masked_whiten(x, mask, shift_mean=False), [[3.0, 5.0, 0.0]])


def test_a_batch_of_one_value_is_whitened_to_zero() -> None:
    same(masked_whiten(torch.full((2, 3), 5.0), MASK), torch.zeros(2, 3).tolist())


def test_k1_is_the_log_ratio_and_k3_is_never_negative() -> None:
    log_probs, ref = torch.tensor([-1.0, -1.0, -3.0]), torch.tensor([-2.0, -1.0, -1.0])
    same(estimate_kl(log_probs, ref, "k1"), [1.0, 0.0, -2.0])
    same(estimate_kl(log_probs, ref, "k3"), [math.exp(-1), 0.0, math.exp(2) - 3])


def test_both_estimators_have_the_divergence_as_their_mean() -> None:
    policy, ref = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.3, 0.2])
    divergence = (policy * (policy / ref).log()).sum()
    for estimator in ("k1", "k3"):
        estimates = estimate_kl(policy.log(), ref.log(), estimator)
        torch.testing.assert_close((policy * estimates).sum(), divergence)


def test_only_a_completion_that_does_not_end_is_penalised() -> None:
    same(penalise_missing_eos(torch.tensor([1.0, 1.0]), torch.tensor([True, False]), 0.4), [1.0, 0.6])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        pytest.param(1.1, 2.0, -2.2, False, id="inside"),
        pytest.param(1.5, 2.0, -2.4, True, id="already much likelier, and good"),
        pytest.param(0.5, 2.0, -1.0, False, id="less likely, and good: goes back"),
        pytest.param(0.5, -2.0, 1.6, True, id="already much less likely, and bad"),
        pytest.param(1.5, -2.0, 3.0, False, id="likelier, and bad: goes back"),
    ],
)
def test_the_policy_loss_is_clipped_on_the_side_of_the_advantage(
    ratio: float, advantage: float, loss: float, clipped: bool
) -> None:
    log_probs = torch.tensor([math.log(ratio) - 1.0], requires_grad=True)
    losses, was_clipped = clipped_policy_loss(log_probs, torch.tensor([-1.0]), torch.tensor([advantage]), 0.2)
    losses.sum().backward()
    same(losses.detach(), [loss])
    assert was_clipped.item() is clipped
    assert log_probs.grad is not None
    same(log_probs.grad, [0.0 if clipped else -advantage * ratio])


@pytest.mark.parametrize(
    ("value", "target", "loss", "clipped"),
    [
        pytest.param(1.1, 3.0, 1.805, False, id="inside"),
        pytest.param(1.5, 3.0, 1.62, True, id="went up far enough"),
        pytest.param(0.5, -1.0, 1.62, True, id="went down far enough"),
        pytest.param(0.5, 3.0, 3.125, False, id="went the wrong way: goes back"),
        pytest.param(1.5, -1.0, 3.125, False, id="went up, should go down: goes back"),
    ],
)
def test_the_value_loss_is_clipped_around_the_old_value(
    value: float, target: float, loss: float, clipped: bool
) -> None:
    values = torch.tensor([value], requires_grad=True)
    losses, was_clipped = clipped_value_loss(values, torch.tensor([1.0]), torch.tensor([target]), 0.2)
    losses.sum().backward()
    same(losses.detach(), [loss])
    assert was_clipped.item() is clipped
    assert values.grad is not None
    same(values.grad, [0.0 if clipped else value - target])


def test_explained_variance_is_one_for_the_truth_and_zero_for_a_constant() -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0], [3.0, 4.0, 99.0]])
    same(explained_variance(returns, returns, MASK), 1.0)
    same(explained_variance(torch.full((2, 3), 2.0), returns, MASK), 0.0)
    assert explained_variance(-returns, returns, MASK) < 0
    assert explained_variance(returns, torch.ones(2, 3), MASK).isnan()
