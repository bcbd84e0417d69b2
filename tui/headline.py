"""The one number that tells how a run goes."""

from __future__ import annotations

from collections.abc import Mapping

from tui.units import compact

# By TRL's names, with the words that people use; where it is not known, and for all other methods, the loss.
_NUMBERS = {
    "dpo": ("rewards/accuracies", "acc."), "reward": ("accuracy", "acc."), "kto": ("rewards/margins", "margin"),
    "rloo": ("reward", "reward"), "ppo": ("reward", "reward"), "grpo": ("reward", "reward"),
}  # fmt: skip


def headline(method: str, metrics: Mapping[str, float | None], loss: float | None) -> str:
    """A reward, an accuracy, a margin or the loss, of the newest readings; empty before there is one."""
    name, word = _NUMBERS.get(method, ("", ""))
    value = metrics.get(name)
    if value is not None:
        return f"{word} {compact(value)}"
    return f"loss {compact(loss)}" if loss is not None else ""
