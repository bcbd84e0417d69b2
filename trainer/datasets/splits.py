"""A recipe's data as rows in TRL's form: recognised, converted, counted, with a held-out split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from recipes.schema import ROLLOUT, SUPERVISED, Data, Method
from trainer.datasets.formats import Format, Layout, as_layout, convert, recognise, rows_in
from trainer.datasets.reading import Row, files_of, read_rows
from trainer.datasets.sampling import at_most, hold_out, shuffled
from trainer.datasets.turns import Futile, Unusable
from trainer.datasets.unpaired import unpaired
from trainer.errors import DatasetError
from trainer.text import one_line

SAMPLE = 20  # rows that a layout is recognised from
_TASKS: tuple[Format, ...] = ("prompt", "question-answer", "prompt-completion", "messages", "sharegpt", "alpaca")
METHOD_FORMATS: dict[Method, tuple[Format, ...]] = {
    "sft": ("messages", "sharegpt", "prompt-completion", "alpaca", "question-answer", "text"),
    "cpt": ("text",),
    "dpo": ("preference",),
    "reward": ("preference",),
    "kto": ("unpaired", "preference"),
    "rloo": _TASKS,
    "grpo": _TASKS,
    "ppo": _TASKS,
}
_IN_WORDS: Mapping[Format, str] = {
    "preference": "preference pairs (prompt, chosen, rejected)",
    "unpaired": "labelled answers (prompt, completion, label)",
    "prompt": "prompts (prompt, answer)",
}


@dataclass
class Count:
    """What became of the rows of one source: `read == kept + sum(dropped.values())`, always.

    A pair that KTO takes apart counts as two rows, and each graded answer of a row as one.
    """

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def drop(self, rule: str, rows: int = 1) -> None:
        self.dropped[rule] += rows


@dataclass(frozen=True)
class Split:
    """The rows that a run trains on and those held out, in TRL's form, and how they came about."""

    train: list[dict[str, Any]]
    eval: list[dict[str, Any]]
    layout: Layout
    train_count: Count
    eval_count: Count
    held_out_from_train: bool
    fingerprint: str  # sha256 over the bytes of the files, 16 hex digits
    facts: dict[str, int] = field(default_factory=dict)  # of kto: desirable, undesirable


def layout_of(path: Path, data: Data, method: Method) -> Layout:
    """The layout of a dataset, as `data.format` says or recognised from its first rows. Raises DatasetError."""
    sample = [row.fields for row in islice(read_rows(path), SAMPLE)]
    if not sample:
        raise DatasetError(f"{path} has no rows", "give a file with at least one row")
    auto = data.format == "auto"
    layout = recognise(sample, data.columns) if auto else as_layout(data.format, sample, data.columns)  # type: ignore[arg-type]
    seen = one_line(", ".join(map(str, sample[0])), 200)
    if layout is None:
        wanted = "nothing that can be trained on" if auto else f"not the columns of `{data.format}`"
        raise DatasetError(
            f"{path}: {wanted} in the first {len(sample)} rows; the first has the columns {seen}",
            "name them, for example --set data.columns.question=COLUMN --set data.columns.answer=COLUMN",
        )
    if layout.format not in METHOD_FORMATS[method]:
        raise _wrong_format(path, layout, method, seen)
    return replace(layout, method=method)


def _wrong_format(path: Path, layout: Layout, method: Method, seen: str) -> DatasetError:
    wanted, found = (
        " or ".join(_IN_WORDS.get(name, name) for name in names) for names in (METHOD_FORMATS[method], (layout.format,))
    )
    takers = " or ".join(taker for taker, formats in METHOD_FORMATS.items() if layout.format in formats)
    return DatasetError(
        f"{path}: {method} trains on {wanted}, this is {found}",
        f"pick a recipe whose method takes them: {takers}; or say how else to read the columns {seen} "
        "with data.format and data.columns",
    )


def converted(path: Path, layout: Layout, data: Data, count: Count) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Every usable row in TRL's form, counted on the way.

    A row that cannot be used raises DatasetError with its file and line, unless `data.untrainable` is `drop`; one that
    is whole and teaches nothing does only where that is `refuse`.
    """
    halves = layout.method == "kto" and layout.format == "preference"
    for row in read_rows(path):
        for fields in rows_in(layout, row.fields):
            count.read += 1 + halves
            try:
                example = convert(layout, fields, data.system)
            except (Unusable, KeyError, TypeError, ValueError) as error:
                rule = str(error) if isinstance(error, Unusable) else f"no {layout.format} row"
                if data.untrainable == "refuse" or (data.untrainable == "auto" and not isinstance(error, Futile)):
                    raise DatasetError(
                        f"{row.place}: {one_line(rule)}: nothing could be learned from this row",
                        "mend the row, or leave such rows out with --set data.untrainable=drop (they are counted)",
                    ) from error
                count.drop(rule, 1 + halves)
                continue
            count.kept += 1 + halves
            for made in unpaired(example) if halves else [example]:
                yield row, made


def load_split(train: Path, held_out: Path | None, data: Data, method: Method, seed: int) -> Split:
    """The rows of a run. Without a file of held-out rows, `data.eval_fraction` of the training rows is held out.

    The order of the training rows is that of the file, but for KTO; `seed` draws the held-out rows and those that
    `max_rows` keeps. Raises DatasetError.
    """
    layout = layout_of(train, data, method)
    train_count, eval_count = Count(), Count()
    train_rows = [example for _, example in converted(train, layout, data, train_count)]
    if held_out is not None:
        eval_layout = layout_of(held_out, data, method)
        eval_rows = [example for _, example in converted(held_out, eval_layout, data, eval_count)]
    else:
        train_rows, eval_rows = hold_out(train_rows, data.eval_fraction, seed, by_prompt=method not in SUPERVISED)
        eval_count.read = eval_count.kept = len(eval_rows)
        train_count.read -= len(eval_rows)
        train_count.kept -= len(eval_rows)
    train_rows = _at_most(train_rows, data.max_rows, seed, train_count, "beyond data.max_rows")
    eval_rows = _at_most(eval_rows, data.max_eval_rows, seed, eval_count, "beyond data.max_eval_rows")
    if not train_rows:
        raise DatasetError(f"{train}: no row is left to train on", "every row was dropped or held out")
    if method == "kto":  # TRL takes these rows in order and compares neighbours, which should not answer one prompt
        train_rows, eval_rows = shuffled(train_rows, seed), shuffled(eval_rows, seed)
    if method in ROLLOUT:
        train_rows, eval_rows = _with_same_columns(train_rows, eval_rows)
    return Split(
        train=train_rows,
        eval=eval_rows,
        layout=layout,
        train_count=train_count,
        eval_count=eval_count,
        held_out_from_train=held_out is None,
        fingerprint=fingerprint(train),
        facts=balance(train, train_rows) if method == "kto" else {},
    )


def balance(path: Path, rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many of KTO's rows are desirable and undesirable. Raises DatasetError where all are the same."""
    desirable = sum(row["label"] for row in rows)
    if desirable in (0, len(rows)):
        raise DatasetError(
            f"{path}: all {len(rows)} labels are {str(bool(desirable)).lower()}: there is nothing to tell apart",
            "kto learns from good and bad answers: add the others, or imitate good ones with an sft recipe",
        )
    return {"desirable": desirable, "undesirable": len(rows) - desirable}


def fingerprint(path: Path) -> str:
    """16 hex digits of the SHA-256 over the bytes of a dataset's files."""
    digest = hashlib.sha256()
    for file in files_of(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _at_most(rows: list[dict[str, Any]], limit: int | None, seed: int, count: Count, rule: str) -> list[dict[str, Any]]:
    kept = at_most(rows, limit, seed)
    if len(kept) < len(rows):
        count.drop(rule, len(rows) - len(kept))
        count.kept = len(kept)
    return kept


def _with_same_columns(*parts: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rewards are given whole columns: what a row does not have is None."""
    blank = dict.fromkeys(key for rows in parts for row in rows for key in row)
    return [[{**blank, **row} for row in rows] for rows in parts]
