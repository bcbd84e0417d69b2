"""`burnish rollouts RUN`: what a run generated at a step, group by group, or where a text stands in all of it."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from typing import Any

from trainer.errors import RunError
from trainer.runs.registry import find
from trainer.runs.rollouts import SORTS, Group, Rollout, RolloutReader, Sort, ordered
from trainer.text import clean, one_line
from tui.units import compact

_WIDTH = 72  # characters of a prompt or completion on its one line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="last", help="id, part of it, name, folder, or last")
    parser.add_argument("--step", type=int, help="a logged step; the newest if not given")
    parser.add_argument("--group", type=int, metavar="K", help="print the completions of this group in full")
    parser.add_argument("--sort", choices=SORTS, default="position", help="order of the completions of a group")
    parser.add_argument("--search", metavar="TEXT", help="find a text in prompts, completions and reasons of all steps")
    parser.add_argument("--limit", type=int, metavar="N", help="groups, completions of --group, or hits at most")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    reader = RolloutReader(find(args.run))
    if args.search:
        _search(reader, args)
        return 0
    if args.step is None:
        step, groups = reader.newest()
        _say_torn(reader)
    else:
        step, groups = args.step, reader.groups(args.step)
    if args.group is not None and not 1 <= args.group <= len(groups):
        raise RunError(f"step {step} has no group {args.group}", f"its groups are 1 to {len(groups)}")
    if args.json:
        chosen = groups if args.group is None else groups[args.group - 1 : args.group]
        told = {"run": reader.run.id, "step": step, "steps": reader.steps()}
        told["groups"] = [_as_object(group, args.sort) for group in chosen[: args.limit]]
        print(json.dumps(told, allow_nan=False))
    elif args.group is not None:
        print("\n".join(_in_full(groups[args.group - 1], args.sort, args.limit)))
    else:
        print("\n".join(_summary(reader, step, groups, args.limit)))
    return 0


def _search(reader: RolloutReader, args: argparse.Namespace) -> None:
    """Where the text stands, the newest step first; raises RunError for a run that has none to search."""
    reader.newest()
    steps = None if args.step is None else [args.step]
    hits = islice(reader.search(args.search, steps), args.limit)
    if args.json:
        found = [{"step": hit.step, "group": hit.group + 1, "position": hit.rollout + 1} for hit in hits]
        print(json.dumps({"run": reader.run.id, "search": args.search, "hits": found}))
    else:
        for hit in hits:
            rollout = reader.groups(hit.step)[hit.group].rollouts[hit.rollout]
            print(f"step {hit.step} group {hit.group + 1} {_line(hit.rollout, rollout)}", flush=True)
    _say_torn(reader)


def _say_torn(reader: RolloutReader) -> None:
    if reader.torn:
        steps = ", ".join(map(str, sorted(reader.torn)))
        print(f"passed over, being written or torn: step {steps}", file=sys.stderr)


def _as_object(group: Group, sort: Sort) -> dict[str, Any]:
    rollouts = [
        {
            "position": index + 1,
            "completion": (rollout := group.rollouts[index]).completion,
            "rewards": rollout.rewards,
            "total": rollout.total,
            "reasons": rollout.reasons,
            "advantage": rollout.advantage,
        }
        for index in ordered(group, sort)
    ]
    facts = {"group": group.index + 1, "prompt": group.prompt, "mean": group.mean}
    return {**facts, "spread": group.spread, "flat": group.flat, "rollouts": rollouts}


def _summary(reader: RolloutReader, step: int, groups: tuple[Group, ...], limit: int | None) -> list[str]:
    """A step: each group with its best and its worst completion."""
    steps = reader.steps()
    flat = sum(group.flat for group in groups)
    logged = f"{len(steps)} steps logged, {steps[0]} to {steps[-1]}" if steps else ""
    lines = [f"{reader.run.id}  step {step}  {len(groups)} groups, {flat} without variance  ({logged})"]
    for group in groups[:limit]:
        lines.append(_head(group))
        scored = [index for index in ordered(group, "reward") if group.rollouts[index].total is not None]
        ends = {"first": 0} if group.flat else {"best": scored[0], "worst": scored[-1]}
        lines += [f"    {name:<5} {_line(index, group.rollouts[index])}" for name, index in ends.items()]
    return lines


def _in_full(group: Group, sort: Sort, limit: int | None) -> list[str]:
    """A group: its prompt and every completion, with rewards and reasons."""
    lines = [_head(group), *_indented(group.prompt)]
    for index in ordered(group, sort)[:limit]:
        rollout = group.rollouts[index]
        lines.append(f"  #{index + 1}  total {_figure(rollout.total)}  advantage {_figure(rollout.advantage)}")
        for name, value in rollout.rewards.items():
            lines.append(f"    {one_line(name)} {_figure(value)}  {one_line(rollout.reasons.get(name, ''))}".rstrip())
        lines += _indented(rollout.completion)
    return lines


def _head(group: Group) -> str:
    return f"  group {group.index + 1}  mean {_figure(group.mean)}  {group.lesson}  {one_line(group.asked, _WIDTH)}"


def _line(index: int, rollout: Rollout) -> str:
    return f"#{index + 1} total {_figure(rollout.total)}  {one_line(rollout.completion, _WIDTH)}"


def _indented(text: str) -> list[str]:
    return [f"      {line}" for line in clean(text).split("\n")]


def _figure(value: float | None) -> str:
    return "-" if value is None else compact(value)
