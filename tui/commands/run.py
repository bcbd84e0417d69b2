"""`burnish run RECIPE`: launch, then follow until the end; closing the terminal leaves the run alone."""

from __future__ import annotations

import argparse
import json
import sys

from recipes.loading import load
from tui.commands.following import follow, summary_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="name in the library, or a YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--name", default="", help="name of the run; the recipe's where not given")
    parser.add_argument("--detach", action="store_true", help="return when the run is launched")
    parser.add_argument("--json", action="store_true", help="print the run as one JSON object")


def run(args: argparse.Namespace) -> int:
    from trainer.planning.start import start

    loaded = load(args.recipe, args.overrides)
    folder = start(loaded, command=["burnish", *sys.argv[1:]], name=args.name)
    print(f"launched {folder.id}; closing this terminal leaves it running", file=sys.stderr)
    code = 0 if args.detach else follow(folder)
    print(json.dumps(summary_json(folder)) if args.json else folder.id)
    return code
