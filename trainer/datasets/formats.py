"""The layouts of training rows: which one a row has, and the same row in TRL's own form.

TRL's forms are `{"text"}`, `{"messages"}`, `{"prompt", "completion"}`, `{"prompt", "chosen", "rejected"}`,
`{"prompt", "completion", "label"}` and `{"prompt", …}` (TRL, "Dataset formats and types"). The dialects of other tools
are converted to these; prompts and answers become messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from recipes.schema import ROLLOUT, Method
from trainer.datasets import answers, preferences, tasks, unpaired
from trainer.datasets.turns import is_turns, with_system

Format = Literal[
    "text", "messages", "prompt-completion", "question-answer", "alpaca", "sharegpt", "preference", "unpaired", "prompt"
]


@dataclass(frozen=True)
class Layout:
    """A recognised layout: its name, the columns it needs (ours to theirs), and why it was chosen."""

    format: Format
    columns: dict[str, str]
    evidence: str
    method: Method = "sft"  # what the rows are converted for


Names = Mapping[str, tuple[str, ...]]
_PROMPTS = ("prompt", "question", "instruction", "query", "problem", "conversations", "messages", "input")
_LABELS = ("label", "kto_tag", "is_correct")

# What each layout needs, in the order in which they are tried, with the names under which the field is known.
_NEEDS: tuple[tuple[Format, Names], ...] = (
    (
        "preference",
        {
            "chosen": ("chosen", "chosen_response", "chosen_messages", "response_j"),
            "rejected": ("rejected", "rejected_response", "rejected_messages", "response_k"),
        },
    ),
    (
        "preference",
        {"prompt": _PROMPTS, "output_1": ("output_1",), "output_2": ("output_2",), "label": ("label", "preference")},
    ),
    ("unpaired", {"messages": ("messages", "conversations", "conversation"), "label": _LABELS}),
    (
        "unpaired",
        {
            "prompt": _PROMPTS,
            "completion": ("completion", "response", "output", "answer", "solution"),
            "label": _LABELS,
        },
    ),
    ("unpaired", {"prompt": _PROMPTS, "graded": ()}),
    ("messages", {"messages": ("messages", "conversation", "dialogue")}),
    ("sharegpt", {"conversations": ("conversations", "conversation", "items")}),
    ("prompt-completion", {"prompt": ("prompt",), "completion": ("completion", "response", "output")}),
    ("alpaca", {"instruction": ("instruction",), "output": ("output", "response", "answer")}),
    (
        "question-answer",
        {
            "question": ("question", "query", "problem", "input"),
            "answer": ("answer", "response", "solution", "output"),
        },
    ),
    ("text", {"text": ("text", "content", "document")}),
    ("prompt", {"prompt": ("prompt",), "reward_model": ("reward_model",)}),
    ("prompt", {"prompt": ("prompt",)}),
)

# What a layout reads where it is there. No known name: only what `data.columns` maps.
_ASKED: Names = {"input": ("input",), "system": ("system",), "history": ("history",)}
_OPTIONAL: dict[Format, Names] = {
    "messages": {"answer": ()},
    "sharegpt": {"system": ("system",), "answer": ()},
    "prompt-completion": {"answer": ()},
    "alpaca": {**_ASKED, "answer": ()},
    "preference": {"prompt": _PROMPTS, **_ASKED},
    "unpaired": _ASKED,
    "prompt": {"answer": ("answer",), "system": ("system",)},
}


def recognise(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> Layout | None:
    """The layout that the given first rows share, None where there is none. `columns` maps our names to theirs."""
    sample = list(rows)
    pairs = any({"chosen", "rejected"} <= row.keys() for row in sample)  # no answers to imitate, whatever stands beside
    for layout in _candidates(sample, columns or {}):
        if _fits(layout, sample) and (layout.format == "preference" or not pairs):
            return layout
    return None


def as_layout(name: Format, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Layout | None:
    """The layout `name` with its columns found in `rows`, None where one is missing."""
    return next((layout for layout in _candidates(rows, columns) if layout.format == name), None)


def _candidates(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Iterable[Layout]:
    """Every layout whose columns are in `rows`, whatever stands in them."""
    for name, needs in _NEEDS:
        found = {needed: _column(needed, known, rows, columns) for needed, known in needs.items()}
        if not rows or None in found.values():
            continue
        for optional, known in _OPTIONAL.get(name, {}).items():
            given = (columns[optional],) if optional in columns else known
            match = next((column for column in given if any(column in row for row in rows)), None)
            if match is not None and match not in found.values():
                found.setdefault(optional, match)
        theirs = {needed: column for needed, column in found.items() if column is not None}
        yield Layout(name, theirs, f"columns {', '.join(theirs.values())}{_dialect(name, theirs, rows[0])}")


def _column(
    needed: str, known: tuple[str, ...], rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> str | None:
    if needed == "graded":
        return next((column for row in rows[:1] for column in row if unpaired.is_graded(row[column])), None)
    given = (columns[needed],) if needed in columns else known
    return next((column for column in given if all(column in row for row in rows)), None)


def _dialect(name: Format, columns: Mapping[str, str], row: Mapping[str, Any]) -> str:
    if name == "preference":
        return f": {preferences.dialect(columns, row)}"
    if "graded" in columns:
        return ": several graded answers a row"
    return ": verl's rule rewards" if "reward_model" in columns else ""


def _fits(layout: Layout, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the values have the kind that the layout needs; empty ones do, they are counted later."""
    columns = layout.columns
    if layout.format == "messages":
        return all(is_turns(row[columns["messages"]], "role") for row in sample)
    if layout.format == "sharegpt":
        return all(is_turns(row[columns["conversations"]], "from", "role") for row in sample)
    if layout.format == "prompt-completion":
        values = [row[columns[needed]] for row in sample for needed in ("prompt", "completion")]
        return all(isinstance(value, str) or is_turns(value, "role") for value in values)
    if layout.format == "prompt":
        prompts = [row[columns["prompt"]] for row in sample]
        return all(isinstance(prompt, str) or is_turns(prompt, "role", "from") for prompt in prompts)
    if "label" in columns and layout.format == "unpaired":  # most, so that one bad label is named with its line
        return sum(unpaired.truth(row[columns["label"]]) is not None for row in sample) * 2 > len(sample)
    return True


def convert(layout: Layout, row: Mapping[str, Any], system: str | None = None) -> dict[str, Any]:
    """`row` in TRL's form, for the method of the layout; prompts and answers are messages. Raises Unusable."""
    make = tasks.task if layout.method in ROLLOUT else _CONVERTERS[layout.format]
    converted = make(layout.columns, row)
    key = "messages" if "messages" in converted else "prompt"
    if system is not None and key in converted:
        converted[key] = with_system(converted[key], system)
    return converted


def rows_in(layout: Layout, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows that `row` stands for: itself, or one for each of its graded answers."""
    return list(unpaired.graded(layout.columns, row)) if "graded" in layout.columns else [row]


_CONVERTERS: dict[Format, Callable[[Mapping[str, str], Mapping[str, Any]], dict[str, Any]]] = {
    "text": answers.plain_text,
    "messages": answers.messages,
    "sharegpt": answers.messages,
    "prompt-completion": answers.prompt_completion,
    "alpaca": answers.alpaca,
    "question-answer": answers.question_answer,
    "preference": preferences.pair,
    "unpaired": unpaired.labelled,
    "prompt": tasks.task,
}
