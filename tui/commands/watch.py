"""`burnish watch RUN`: follow a run until it ends, or print it as it stands with --json."""

from __future__ import annotations

import argparse
import json

from trainer.runs.registry import find
from tui.commands.following import follow, summary_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="last", help="id, part of it, name, folder, or last")
    parser.add_argument("--json", action="store_true", help="print the run as it stands, as one JSON object")


def run(args: argparse.Namespace) -> int:
    folder = find(args.run)
    if args.json:
        print(json.dumps(summary_json(folder)))
        return 0
    return follow(folder)
