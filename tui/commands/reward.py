"""`burnish reward test RECIPE`: rewards on right answers, tricks and completions, before any GPU time is spent."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from recipes.loading import load
from recipes.schema import Recipe
from trainer.rewards import completions
from trainer.rewards.completions import Source, Task
from trainer.rewards.testable import require_testable
from trainer.rewards.trial import Trial, try_rewards
from trainer.runs.registry import find
from trainer.text import one_line
from tui import present_rewards as show

_SLOW_S = 0.1  # calls that took less are not worth a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["test"], metavar="test", help="test: score completions and look at the scores")
    parser.add_argument("recipe", help="name in the library, or a YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--completions", type=Path, metavar="FILE", help="rows {prompt, completion | completions, …} to score"
    )
    origin.add_argument("--run", help="score the newest completions of this run")
    origin.add_argument("--no-samples", action="store_true", help="only right answers and probes: needs no model")
    parser.add_argument(
        "--prompts", type=_positive, default=completions.PROMPTS, metavar="N", help="prompts of the data (16)"
    )
    parser.add_argument(
        "--generations", type=_positive, metavar="G", help="completions of each prompt (num_generations, at most 8)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    recipe = load(args.recipe, args.overrides).recipe
    require_testable(recipe)
    tasks, source = _gathered(recipe, args)
    _tell("scoring")
    trial = try_rewards(recipe, tasks, source)
    if args.json:
        print(json.dumps(trial.as_object(), default=str, allow_nan=False))
    else:
        print("\n".join(_lines(trial)))
    return 1 if trial.serious else 0


def _gathered(recipe: Recipe, args: argparse.Namespace) -> tuple[list[Task], Source | None]:
    """The prompts whose right answers are scored, and the completions, None where there are to be none."""
    if args.run:
        source = completions.from_run(find(args.run))
        return source.tasks(args.prompts), source
    tasks = completions.tasks_of(recipe)
    if args.completions:
        source = completions.from_file(args.completions, tasks)
        return source.tasks(args.prompts), source
    tasks = completions.drawn_from(tasks, args.prompts, recipe.training.data_seed)
    return tasks, None if args.no_samples else _fresh(recipe, tasks, args.generations)


def _fresh(recipe: Recipe, tasks: list[Task], generations: int | None) -> Source:
    from trainer.evaluation.draw import Drawing

    many = generations or completions.generations_of(recipe)
    with Drawing(recipe, [task.prompt for task in tasks], many) as drawing:
        return completions.sampled(recipe, tasks, drawing.wait(_tell))


def _lines(trial: Trial) -> list[str]:
    report = trial.report
    lines = [one_line(trial.verdict), "", f"{report.n} completions: {one_line(report.source)}"]
    lines += [show.REWARD_HEAD, *map(show.reward_line, report.rewards), show.total_line(report), ""]
    names = show.shown_rewards(report, None)
    lines += [show.probe_head(names), *show.beside_probes(trial, names)]
    lines += [show.probe_line(probe, names) for probe in report.probes]
    if report.disagreements:
        lines += ["", "disagreements", *(show.disagreement_line(one, report.n) for one in report.disagreements)]
    if slow := [one for one in report.slowest if one.seconds >= _SLOW_S]:
        lines += ["", "slowest calls", *map(show.slow_line, slow)]
    if trial.findings:
        lines.append("")
    for finding in trial.findings:
        lines += [show.finding_line(finding), *([f"      {finding.hint}"] if finding.hint else [])]
    return lines


def _tell(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
