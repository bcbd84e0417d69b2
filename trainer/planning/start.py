"""From a loaded recipe to a run: paths made whole, preflight passed, provenance noted, launched."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from recipes.loading import Loaded
from trainer.datasets.splits import fingerprint
from trainer.planning.places import made_whole
from trainer.planning.preflight import check
from trainer.runs.folder import RunFolder, check_name
from trainer.runs.launch import launch


def start(loaded: Loaded, *, home: Path | None = None, command: Sequence[str], name: str = "") -> RunFolder:
    """Launch the recipe after every check. Raises InputError, PreflightRefusal or LaunchError; nothing is written then."""
    name = name or loaded.recipe.name
    check_name(name)
    loaded, lineage = made_whole(loaded, home)
    recipe = loaded.recipe
    check(recipe, lineage, home)
    return launch(
        name=name,
        method=recipe.method,
        recipe=recipe.model_dump(),
        origins=loaded.origins,
        command=command,
        home=home,
        parent=lineage.parent,
        facts={
            "base": lineage.base,
            "recipe_source": loaded.source,
            "host": {"name": platform.node(), "system": platform.platform()},
            "versions": {"burnish": metadata.version("burnish"), "python": platform.python_version()},
            "data": {"train": _source(recipe.data.train), "eval": _source(recipe.data.eval)},
        },
    )


def _source(given: str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return {"path": given, "fingerprint": None if given == "pocket" else fingerprint(Path(given))}
