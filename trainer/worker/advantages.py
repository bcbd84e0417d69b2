"""The arithmetic of PPO: pure functions of (batch, tokens) tensors.

Completions are padded on the right. `mask` is 1 on the tokens that are learned from and 0 behind them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

_EPSILON = 1e-8


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens of the mask, 0 where there are none."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


def masked_variance(x: Tensor, mask: Tensor) -> Tensor:
    """The variance over the tokens of the mask, divided by their number."""
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def masked_whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scaled to deviation 1 over the mask and moved to mean 0, or left at its mean; 0 behind the mask."""
    mean = masked_mean(x, mask)
    whitened = (x - mean) * torch.rsqrt(masked_variance(x, mask) + _EPSILON)
    return (whitened if shift_mean else whitened + mean) * mask


def estimate_kl(log_probs: Tensor, ref_log_probs: Tensor, estimator: Literal["k1", "k3"]) -> Tensor:
    """An estimate of KL(policy || reference) at each sampled token: k1 may be negative, k3 never is."""
    log_ratio = ref_log_probs - log_probs
    return -log_ratio if estimator == "k1" else torch.expm1(log_ratio) - log_ratio


def penalise_missing_eos(scores: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """The scores of completions, less the penalty where a completion did not end by itself."""
    return torch.where(ended, scores, scores - penalty)


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """The reward of each token: -kl_coef * KL, and at the last token of a completion its score besides."""
    rewards = -kl_coef * kl * mask
    rows = mask.any(dim=1).nonzero().squeeze(1)
    last = mask.sum(dim=1).long()[rows] - 1
    rewards[rows, last] += scores[rows]
    return rewards


def estimate_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the returns that values are trained on; nothing follows a last token."""
    advantages = torch.zeros_like(values)
    following = next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        surprise = rewards[:, t] + gamma * next_value - values[:, t]
        following = (surprise + gamma * lam * following) * mask[:, t]
        next_value = values[:, t] * mask[:, t]
        advantages[:, t] = following
    return advantages, (advantages + values) * mask


def clipped_policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, cliprange: float
) -> tuple[Tensor, Tensor]:
    """The loss of each token, and which tokens are clipped: those have no gradient."""
    ratio = torch.exp(log_probs - old_log_probs)
    free = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return torch.max(free, clipped), clipped > free


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, cliprange_value: float
) -> tuple[Tensor, Tensor]:
    """Half the squared error of each value, and which values are clipped: those have no gradient."""
    near = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
    free, clipped = (values - returns) ** 2, (near - returns) ** 2
    return 0.5 * torch.max(free, clipped), clipped > free


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """The share of the returns' variance that the values explain: 1 is all, NaN where the returns do not vary."""
    variance = masked_variance(returns, mask)
    return torch.where(variance > 0, 1 - masked_variance(returns - values, mask) / variance, torch.nan)
