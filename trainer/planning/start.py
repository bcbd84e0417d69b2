"""From a loaded recipe to a run: paths made whole, preflight passed, provenance noted, launched."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from recipes.loading import Loaded
from recipes.schema import Recipe
from trainer.datasets.splits import fingerprint
from trainer.planning.preflight import check
from trainer.runs.folder import RunFolder, check_name
from trainer.runs.launch import launch


def start(
    loaded: Loaded, *, home: Path | None = None, command: Sequence[str], name: str = "", parent: str | None = None
) -> RunFolder:
    """Launch the recipe after every check. Raises InputError, PreflightRefusal or LaunchError; nothing is written then."""
    name = name or loaded.recipe.name
    check_name(name)
    recipe = with_whole_paths(loaded.recipe)
    check(recipe, home)
    return launch(
        name=name,
        method=recipe.method,
        recipe=recipe.model_dump(),
        origins=loaded.origins,
        command=command,
        home=home,
        parent=parent,
        facts={
            "recipe_source": loaded.source,
            "host": {"name": platform.node(), "system": platform.platform()},
            "versions": {"burnish": metadata.version("burnish"), "python": platform.python_version()},
            "data": {"train": _source(recipe.data.train), "eval": _source(recipe.data.eval)},
        },
    )


def with_whole_paths(recipe: Recipe) -> Recipe:
    """The recipe with every path absolute: the trainer may run elsewhere, and later."""
    data, model = recipe.data, recipe.model
    paths = {
        key: str(Path(value).expanduser().absolute())
        for key in ("train", "eval", "chat_template_path")
        if (value := getattr(data, key)) and value != "pocket"
    }
    base = Path(model.base).expanduser()
    local = model.base != "pocket" and (base.exists() or model.base.startswith("~"))
    return recipe.model_copy(
        update={
            "data": data.model_copy(update=paths),
            "model": model.model_copy(update={"base": str(base.absolute())} if local else {}),
        }
    )


def _source(given: str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {"path": given, "fingerprint": None if given == "pocket" else fingerprint(Path(given))}
