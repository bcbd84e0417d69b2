"""Whether the rewards of a recipe can be tested before a run. Loads nothing but recipes: screens ask it at every key."""

from __future__ import annotations

from recipes.errors import InputError
from recipes.rewards import RewardModel
from recipes.schema import ROLLOUT, Recipe


def why_not(recipe: Recipe) -> str:
    """Why the rewards of a recipe cannot be tested; empty where they can."""
    if recipe.method not in ROLLOUT:
        return f"{recipe.method} takes no rewards"
    if recipe.rewards and all(isinstance(reward, RewardModel) for reward in recipe.rewards.values()):
        return "a reward model is scored in the run only, and the recipe has no other reward"
    return ""


def require_testable(recipe: Recipe) -> None:
    """Raises InputError where the rewards of a recipe cannot be tested."""
    if reason := why_not(recipe):
        hint = "`burnish recipes` lists the recipes; rft-math has rewards to test"
        raise InputError(f"{recipe.name}: {reason}", hint)
