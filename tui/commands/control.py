"""`burnish stop|save|evaluate|pause|continue|resume RUN`: what a person asks of a run."""

from __future__ import annotations

import argparse
import sys

from trainer.runs import control
from trainer.runs.launch import resume
from trainer.runs.registry import find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="id, part of it, name, folder, or last")
    if parser.prog.endswith(" stop"):
        parser.add_argument("--now", action="store_true", help="kill the trainer at once, saving nothing")


def run(args: argparse.Namespace) -> int:
    folder = find(args.run)
    if args.verb == "resume":
        resume(folder)
        print(f"resumed {folder.id} from {_name(folder.latest_checkpoint())}", file=sys.stderr)
    elif args.verb == "stop" and args.now:
        control.kill_now(folder)
        print(f"killed {folder.id}; its checkpoints stay", file=sys.stderr)
    else:
        control.request(folder, args.verb)
        print(f"asked {folder.id} to {args.verb}; it answers after the step it is in", file=sys.stderr)
    return 0


def _name(path: object) -> str:
    return getattr(path, "name", "its start")
