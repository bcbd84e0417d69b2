"""What a recipe points at, made lasting: absolute paths, and runs by their whole id. The trainer may run elsewhere, later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipes.errors import RecipeError
from recipes.loading import DEFAULT, Loaded
from recipes.rewards import Function, Reward, RewardModel
from trainer.errors import RunError
from trainer.runs.lineage import PREFIX, Lineage, resolve


def made_whole(loaded: Loaded, home: Path | None) -> tuple[Loaded, Lineage]:
    """The recipe with every place in it made lasting, and where its model comes from. Raises InputError."""
    lineage = resolve(loaded.recipe.model.base, home)
    recipe = loaded.recipe
    data, model = recipe.data, recipe.model
    paths = {
        key: _absolute(value)
        for key in ("train", "eval", "chat_template_path")
        if (value := getattr(data, key)) and value != "pocket"
    }
    rewards = {name: _reward(name, reward, home) for name, reward in recipe.rewards.items()}
    value_base = recipe.ppo.value_base and _scorer("ppo.value_base", recipe.ppo.value_base, home)
    whole = recipe.model_copy(
        update={
            "data": data.model_copy(update=paths),
            "model": model.model_copy(update={"base": _model(model.base, home)}),
            "rewards": rewards,
            "ppo": recipe.ppo.model_copy(update={"value_base": value_base}),
        }
    )
    return _with_the_parents_adapter(Loaded(whole, dict(loaded.origins), loaded.source), lineage), lineage


def _with_the_parents_adapter(loaded: Loaded, lineage: Lineage) -> Loaded:
    """The adapter of the parent goes on, so its settings count. Raises RecipeError where other ones were asked for."""
    recipe = loaded.recipe
    if lineage.lora is None or recipe.model.tuning == "full":
        return loaded
    for name, value in lineage.lora.items():
        origin = loaded.origin(f"model.lora.{name}")
        asked = origin != DEFAULT and not origin.startswith("library ")
        if asked and getattr(recipe.model.lora, name) != value:
            raise RecipeError(
                f"model.lora.{name} is {value} in {lineage.parent}, whose adapter goes on",
                f"leave model.lora.{name} out, or set model.tuning=full to merge that adapter into the base",
            )
    lora = type(recipe.model.lora).model_validate(lineage.lora)
    origins = {
        **{key: origin for key, origin in loaded.origins.items() if not key.startswith("model.lora.")},
        **{f"model.lora.{name}": f"{PREFIX}{lineage.parent}" for name in lineage.lora},
    }
    model = recipe.model.model_copy(update={"lora": lora})
    return Loaded(recipe.model_copy(update={"model": model}), origins, loaded.source)


def _reward(name: str, reward: Reward, home: Path | None) -> Reward:
    changes: dict[str, Any] = {}
    if isinstance(reward, RewardModel):
        changes = {"base": _scorer(f"rewards.{name}.base", reward.base, home)}
    elif isinstance(reward, Function):
        changes = {"file": _absolute(reward.file)}
    return reward.model_copy(update=changes)


def _scorer(key: str, base: str, home: Path | None) -> str:
    try:
        return _model(base, home)
    except RunError as error:
        raise RunError(
            f"{key}: {error.message}", f"train a reward model, `burnish run reward-model`, and --set {key}=run:ID"
        ) from error


def _model(base: str, home: Path | None) -> str:
    """A base as it is written down: the run by its id, a folder by its absolute path, a hub id as it is."""
    if base.startswith(PREFIX):
        return f"{PREFIX}{resolve(base, home).parent}"
    path = Path(base).expanduser()
    local = base != "pocket" and (path.exists() or base.startswith("~"))
    return str(path.absolute()) if local else base


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
