"""`burnish log RUN`: the last lines that the trainer printed, made safe for a terminal."""

from __future__ import annotations

import argparse

from trainer.runs.reader import RunReader
from trainer.runs.registry import find
from trainer.text import clean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="last", help="id, part of it, name, folder, or last")
    parser.add_argument("-n", "--lines", type=int, default=40)


def run(args: argparse.Namespace) -> int:
    for line in RunReader(find(args.run)).tail_log(args.lines):
        print(clean(line))
    return 0
