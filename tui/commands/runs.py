"""`burnish runs`: every run, newest first, those that went on from another under it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from trainer.runs.registry import families, summaries
from trainer.text import one_line
from tui.headline import headline
from tui.units import duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(args: argparse.Namespace) -> int:
    found = summaries()
    if args.json:
        print(json.dumps([asdict(summary) for summary in found]))
        return 0
    for depth, one in families(found):
        steps = f"{one.step}/{one.total_steps or '?'}"
        tail = (
            f"eta {duration(one.eta_s)}"
            if one.eta_s
            else one_line(one.verdict.message, 70)
            if one.verdict
            else one.note
        )
        name = f"{'  ' * (depth - 1)}└ {one.id}" if depth else one.id
        number = headline(one.method, one.metrics, one.loss)
        print(f"{name:<46} {one.method:<6} {one.state:<9} {steps:>11}  {number:<12} {tail}".rstrip())
    return 0
