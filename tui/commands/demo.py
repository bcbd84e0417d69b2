"""`burnish demo`: the whole job on the pocket model, on the screen, or as text with --headless or without a terminal."""

from __future__ import annotations

import argparse
import os
import sys
import time

from trainer.home import burnish_home
from trainer.text import one_line

_EVERY_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--headless", action="store_true", help="tell the story as text")


def run(args: argparse.Namespace) -> int:
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if args.headless or not terminal:
        return _headless()
    from tui.terminal import prepare

    prepare()
    from tui.app import open_workstation

    return open_workstation(args, demo=True)


def _headless() -> int:
    from trainer.pocket.story import Beat, helped, play

    told: list[Beat] = []
    said_at = 0.0
    started = time.monotonic()
    for beat in play(burnish_home()):
        told.append(beat)
        goes_on = len(told) > 1 and told[-2].kind == beat.kind and not beat.done
        if goes_on and time.monotonic() - said_at < _EVERY_S:
            continue
        said_at = time.monotonic()
        print(f"{said_at - started:5.0f} s  {beat.stage:<4}  {beat.kind:<8}  {beat.text}", flush=True)
        for example in beat.data.get("examples", [])[:2]:
            print(f"{'':25}{one_line(example['prompt'])}\n{'':27}answers {one_line(example['completion'])}")
    return 0 if helped(told) else 1
