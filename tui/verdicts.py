"""The verdicts of a run as lines of the screen, and what the box tells of the GPUs that it trains on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer.runs.health import Finding
from trainer.runs.model import RunView
from tui import glyphs
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from trainer.devices.model import Snapshot

_STYLES = {"good": "good", "watch": "warn", "bad": "trouble"}
_INDENT = 8


def verdict_lines(found: Sequence[Finding], width: int, rows: int, style: glyphs.Style) -> list[Line]:
    """Every finding under a rule, worst first; what is not good comes with what to do. Says how many do not fit."""
    head: Line = [(glyphs.rule("Verdicts of the moment", width, style), "dim")]
    if not found:
        return [head, [(" too few readings for a verdict yet", "dim")]]
    blocks = [_lines(finding, width) for finding in found]
    fit = len(blocks)
    while fit and 1 + sum(map(len, blocks[:fit])) + (fit < len(blocks)) > rows:
        fit -= 1
    rest: list[Line] = [[(f" {len(blocks) - fit} more on a higher screen", "dim")]] if fit < len(blocks) else []
    return [head, *(line for block in blocks[:fit] for line in block), *rest]


def _lines(finding: Finding, width: int) -> list[Line]:
    room = max(width - _INDENT - 1, 20)
    if finding.level == "good":
        first, *more = textwrap.wrap(finding.why, room)
    else:
        first, *rest = textwrap.wrap(finding.text, room)
        more = [*rest, *textwrap.wrap(f"{finding.range}, {finding.source}. {finding.remedy}", room)]
    words: Line = [(f" {finding.level:<6} ", _STYLES[finding.level]), (first, "")]
    return [words, *([(" " * _INDENT + line, "dim")] for line in more)]


def tone(view: RunView, found: Sequence[Finding]) -> str:
    """The style of the sentence on top."""
    verdict = view.summary.verdict
    if view.summary.state in ("failed", "killed") or (verdict and verdict.exit_code):
        return "trouble"
    if not view.summary.live:
        return "good"
    return _STYLES[found[0].level] if found else "warn" if view.summary.note else "good"


def checks_of(recipe: Mapping[str, Any]) -> list[str]:
    """The rewards of a recorded recipe that are measured and teach nothing."""
    return [name for name, reward in (recipe.get("rewards") or {}).items() if reward.get("weight") == 0]


def utilization_of(snapshot: Snapshot | None, pid: int | None) -> int | None:
    """How busy the busiest GPU of a process is, in percent; None where the driver does not tell."""
    if snapshot is None or pid is None:
        return None
    gpus = [gpu for gpu in snapshot.gpus if any(process.pid == pid for process in gpu.processes)]
    return max((gpu.utilization for gpu in gpus if gpu.utilization is not None), default=None)
