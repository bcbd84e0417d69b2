"""The `burnish` command: the verbs, the options that all share, and how errors leave. Imports what a verb needs, late."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from recipes.errors import BurnishError, InputError

# verb: (module under tui.commands, one line of help)
VERBS = {
    "demo": ("demo", "the whole job on the pocket model, from base to tuned"),
    "doctor": ("doctor", "is this box ready?"),
    "gpus": ("gpus", "what the box has, and who uses it"),
    "recipes": ("recipes", "list the recipes, or show one with every value's meaning and origin"),
    "run": ("run", "launch a recipe in a trainer of its own and follow it"),
    "runs": ("runs", "list the runs"),
    "watch": ("watch", "follow a run until it ends"),
    "log": ("log", "what the trainer of a run printed last"),
    "reward": ("reward", "test the rewards of a recipe before a run: right answers, tricks, completions"),
    "rollouts": ("rollouts", "what a run by rewards generated, step by step, group by group"),
    "stop": ("control", "finish the step, save and end a run; --now kills it at once"),
    "save": ("control", "save a checkpoint after this step"),
    "evaluate": ("control", "evaluate after this step"),
    "pause": ("control", "pause after this step"),
    "continue": ("control", "go on after a pause"),
    "resume": ("control", "go on from the newest checkpoint of a run that ended"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb, or the workstation without one; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        return _dispatch(arguments)
    except BurnishError as error:
        if debug:
            raise
        print(f"{error.title}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _dispatch(arguments: list[str]) -> int:
    verb = next((argument for argument in arguments if argument in VERBS), None)
    opened = next((argument for argument in arguments if verb is None and Path(argument).exists()), "")
    asked = [argument for argument in arguments if argument != opened]
    # The verbs take milliseconds to list, which the first frame of the workstation need not wait for.
    named = any(not argument.startswith("-") or argument in ("-h", "--help") for argument in asked)
    args = _parser(verb, with_verbs=named).parse_args(asked)
    if args.home:
        os.environ["BURNISH_HOME"] = str(args.home.absolute())
    args.home = None
    if not named or args.verb is None:
        return _workstation(args, opened)
    module = importlib.import_module(f"tui.commands.{VERBS[args.verb][0]}")
    return int(module.run(args))


def _parser(verb: str | None, *, with_verbs: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="burnish",
        description="The terminal workstation for fine-tuning. Without a verb it opens the full screen; "
        "a run folder or a recipe file instead of a verb is opened in it.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    shared = argparse.ArgumentParser(add_help=False)
    for options in (parser, shared):
        _shared_options(options, suppress=options is shared)
    if not with_verbs:
        return parser
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, (module, line) in VERBS.items():
        sub = verbs.add_parser(name, help=line, description=line, parents=[shared])
        if name == verb:  # only the verb that runs is imported
            importlib.import_module(f"tui.commands.{module}").add_arguments(sub)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: reading the metadata costs the start-up."""

    def __call__(self, *_: object) -> None:
        from importlib import metadata

        print(f"burnish {metadata.version('burnish')}")
        raise SystemExit(0)


def _shared_options(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    """Options that stand before or after the verb; after it, an option not given leaves the one before alone."""
    unset = argparse.SUPPRESS

    def default(value: object) -> object:
        return unset if suppress else value

    group = parser.add_argument_group("everywhere")
    group.add_argument("--home", type=Path, default=default(None), help="folder of runs and models ($BURNISH_HOME)")
    group.add_argument("--devices", default=default("nvml"), help="nvml, fake:h200x8, fake:none or a scenario file")
    group.add_argument("--debug", action="store_true", default=default(False), help="show tracebacks")
    group.add_argument("--ascii", action="store_true", default=default(False), help="draw with ASCII only")
    group.add_argument(
        "--no-mouse", action="store_true", default=default(False), help="leave the mouse to the terminal"
    )


def _workstation(args: argparse.Namespace, opened: str) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("the workstation needs a terminal", "in scripts use the verbs: `burnish --help` lists them")
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        raise InputError(
            "TERM=dumb cannot show a full screen", "set TERM, for example TERM=xterm-256color, or use the verbs"
        )
    # Before the first frame nothing is garbage, and looking for it takes a fourteenth of the start; the app enables it.
    gc.disable()
    from tui.terminal import prepare

    prepare()
    from tui.app import open_workstation

    return open_workstation(args, opened=opened)


if __name__ == "__main__":
    sys.exit(main())
