"""`burnish recipes [NAME]`: the library, or one recipe with the meaning and origin of every value."""

from __future__ import annotations

import argparse
import json
import textwrap

from recipes.explain import settings
from recipes.loading import Loaded, library, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="name in the library, or a YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--json", action="store_true", help="print one JSON object or array")


def run(args: argparse.Namespace) -> int:
    if args.name is None:
        return _list(args.json)
    loaded = load(args.name, args.overrides)
    if args.json:
        print(json.dumps({"recipe": loaded.recipe.model_dump(), "origins": loaded.origins, "source": loaded.source}))
    else:
        _show(loaded)
    return 0


def _list(as_json: bool) -> int:
    every = [loaded.recipe for loaded in library()]
    if as_json:
        print(
            json.dumps(
                [{"name": r.name, "method": r.method, "base": r.model.base, "summary": r.summary} for r in every]
            )
        )
        return 0
    for recipe in every:
        print(f"{recipe.name:<18} {recipe.summary}")
    return 0


def _show(loaded: Loaded) -> None:
    print(f"{loaded.recipe.name}: {loaded.recipe.summary}")
    print(textwrap.fill(loaded.recipe.notes, 100))
    group = ""
    for setting in settings(loaded):
        first = setting.key.partition(".")[0]
        if first != group:
            group = first
            print()
        value = f"{setting.key} = {setting.text}"
        origin = "" if setting.origin == "default" else f"  [{setting.origin}]"
        print(f"{value:<52}{origin}\n    {setting.meaning}")
