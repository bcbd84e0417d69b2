"""Rollouts as lines of the screen: a group, a completion, the whole text of one. What is shown was made safe here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainer.runs.rollouts import Group, Rollout
from trainer.text import clean, one_line
from tui.diff import styled, words
from tui.units import compact
from tui.widgets.lines import Line, Span, fitted, width_of
from tui.wrap import wrapped_spans

_CELL = 7  # of a number and its blank
_TEXT = 24  # cells that the text of a completion has at least


def figure(value: float | None) -> str:
    """A reward or an advantage, a dash where there is none."""
    return "-" if value is None else compact(value)


def group_line(group: Group, width: int) -> Line:
    """One group on one line: number, mean, spread, what was asked."""
    head = f" {group.index + 1:>3} {figure(group.mean):>{_CELL}}  {fitted(group.lesson, 13)} "
    return [(head, "dim" if group.flat else ""), (fitted(_start(group.asked, width), width - len(head)), "")]


def shown_rewards(names: Sequence[str], width: int) -> list[str]:
    """The rewards whose columns fit beside the text."""
    return list(names[: max((width - 6 - 2 * _CELL - _TEXT) // _CELL, 0)])


def rollout_head(names: Sequence[str], width: int) -> str:
    """The names over the columns of the completions, and how many rewards had no room."""
    shown = shown_rewards(names, width)
    columns = "".join(f"{one_line(name, _CELL - 1):>{_CELL}}" for name in shown)
    more = f"(+{len(names) - len(shown)} rewards below)" if len(names) > len(shown) else ""
    return fitted(f"   #  {'total':>{_CELL}}{'adv.':>{_CELL}}{columns} {more}", width)


def rollout_line(index: int, rollout: Rollout, width: int, *, marked: bool) -> Line:
    """One completion on one line: mark, number, total, advantage, each reward, how the text begins."""
    names = shown_rewards(list(rollout.rewards), width)
    rewards = "".join(f"{figure(rollout.rewards[name]):>{_CELL}}" for name in names)
    head: list[Span] = [
        (f"{'*' if marked else ' '}{index + 1:>3}  ", "accent" if marked else ""),
        (f"{figure(rollout.total):>{_CELL}}", "bold"),
        (f"{figure(rollout.advantage):>{_CELL}}{rewards} ", ""),
    ]
    room = width - width_of(head)
    return [*head, (fitted(_start(rollout.completion, room), room), "")]


def page(group: Group, rollout: Rollout, width: int, found: str = "", against: str | None = None) -> list[Line]:
    """A completion in full, or what differs in it from `against`; then its rewards with their reasons; then the prompt.
    `found` is set off where it stands in a text."""
    completion = clean(rollout.completion)
    text = _found(completion, found) if against is None else styled(words(clean(against), completion))
    spans: list[Span] = [*text, ("\n\n", "")]
    for name, value in rollout.rewards.items():
        spans.append((f"{one_line(name)} {figure(value)}", "bold"))
        reason = clean(rollout.reasons.get(name, ""))
        spans += [*_found(f"  {reason}", found), ("\n", "")]
    spans += [("\nPrompt\n", "bold"), *_found(clean(group.prompt), found)]
    return [[(" ", ""), *line] for line in wrapped_spans(spans, width - 2)]


def first_found(lines: Sequence[Line]) -> int:
    """The line with the first text that was set off, 0 where there is none."""
    return next((y for y, line in enumerate(lines) if any(style == "chosen" for _, style in line)), 0)


def _found(text: str, wanted: str) -> list[Span]:
    if not wanted:
        return [(text, "")]
    pieces = re.split(f"({re.escape(wanted)})", text, flags=re.IGNORECASE)
    return [(piece, "chosen" if index % 2 else "") for index, piece in enumerate(pieces) if piece]


def _start(text: str, width: int) -> str:
    """How a text begins, on one line: cut first, since cleaning a long one takes a while."""
    return one_line(text.strip()[: width + 1])
