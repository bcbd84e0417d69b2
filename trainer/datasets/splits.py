"""A recipe's data as rows in TRL's form: recognised, converted, counted, with a held-out split."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from recipes.schema import Data, Method
from trainer.datasets.formats import Format, Layout, Unusable, as_layout, convert, recognise
from trainer.datasets.reading import Row, files_of, read_rows
from trainer.errors import DatasetError
from trainer.text import one_line

SAMPLE = 20  # rows that a layout is recognised from
METHOD_FORMATS: dict[Method, tuple[Format, ...]] = {
    "sft": ("messages", "sharegpt", "prompt-completion", "alpaca", "question-answer", "text"),
    "cpt": ("text",),
}


@dataclass
class Count:
    """What became of the rows of one source: `read == kept + sum(dropped.values())`, always."""

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


def layout_of(path: Path, data: Data, method: Method) -> Layout:
    """The layout of a dataset, as `data.format` says or recognised from its first rows. Raises DatasetError."""
    sample = [row.fields for row in islice(read_rows(path), SAMPLE)]
    if not sample:
        raise DatasetError(f"{path} has no rows", "give a file with at least one row")
    auto = data.format == "auto"
    layout = recognise(sample, data.columns) if auto else as_layout(data.format, sample, data.columns)  # type: ignore[arg-type]
    seen = one_line(", ".join(map(str, sample[0])), 200)
    if layout is None:
        if any({"chosen", "rejected"} <= row.keys() for row in sample):
            raise DatasetError(
                f"{path} holds preference pairs (chosen, rejected)", f"{method} wants answers to imitate"
            )
        wanted = "nothing that can be trained on" if auto else f"not the columns of `{data.format}`"
        raise DatasetError(
            f"{path}: {wanted} in the first {len(sample)} rows; the first has the columns {seen}",
            "name them, for example --set data.columns.question=COLUMN --set data.columns.answer=COLUMN",
        )
    if layout.format not in METHOD_FORMATS[method]:
        raise DatasetError(
            f"{path}: {method} trains on {' or '.join(METHOD_FORMATS[method])}, this is {layout.format}",
            "pick an sft recipe, or set data.format and data.columns" if method == "cpt" else "",
        )
    return layout


def converted(path: Path, layout: Layout, data: Data, count: Count) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Every usable row in TRL's form, counted on the way.

    A row that cannot be used raises DatasetError with its file and line, unless `data.untrainable` is `drop`.
    """
    for row in read_rows(path):
        count.read += 1
        try:
            example = convert(layout, row.fields, data.system)
        except (Unusable, KeyError, TypeError, ValueError) as error:
            rule = str(error) if isinstance(error, Unusable) else f"no {layout.format} row"
            if data.untrainable != "drop":
                raise DatasetError(
                    f"{row.place}: {one_line(rule)}: nothing could be learned from this row",
                    "mend the row, or leave such rows out with --set data.untrainable=drop (they are counted)",
                ) from error
            count.drop(rule)
            continue
        count.kept += 1
        yield row, example


def load_split(train: Path, held_out: Path | None, data: Data, method: Method, seed: int) -> Split:
    """The rows of a run. Without a file of held-out rows, `data.eval_fraction` of the training rows is held out.

    The order of the training rows is that of the file; `seed` draws the held-out rows and those that `max_rows` keeps.
    """
    layout = layout_of(train, data, method)
    train_count, eval_count = Count(), Count()
    train_rows = [example for _, example in converted(train, layout, data, train_count)]
    if held_out is not None:
        eval_layout = layout_of(held_out, data, method)
        eval_rows = [example for _, example in converted(held_out, eval_layout, data, eval_count)]
    else:
        train_rows, eval_rows = _hold_out(train_rows, data.eval_fraction, seed)
        eval_count.read = eval_count.kept = len(eval_rows)
        train_count.read -= len(eval_rows)
        train_count.kept -= len(eval_rows)
    train_rows = _at_most(train_rows, data.max_rows, seed, train_count, "beyond data.max_rows")
    eval_rows = _at_most(eval_rows, data.max_eval_rows, seed, eval_count, "beyond data.max_eval_rows")
    if not train_rows:
        raise DatasetError(f"{train}: no row is left to train on", "every row was dropped or held out")
    return Split(
        train=train_rows,
        eval=eval_rows,
        layout=layout,
        train_count=train_count,
        eval_count=eval_count,
        held_out_from_train=held_out is None,
        fingerprint=fingerprint(train),
    )


def fingerprint(path: Path) -> str:
    """16 hex digits of the SHA-256 over the bytes of a dataset's files."""
    digest = hashlib.sha256()
    for file in files_of(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _hold_out(
    rows: list[dict[str, Any]], fraction: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    count = min(max(round(len(rows) * fraction), 1), len(rows) - 1) if fraction and len(rows) > 1 else 0
    chosen = set(random.Random(seed).sample(range(len(rows)), count))
    train = [row for index, row in enumerate(rows) if index not in chosen]
    return train, [row for index, row in enumerate(rows) if index in chosen]


def _at_most(rows: list[dict[str, Any]], limit: int | None, seed: int, count: Count, rule: str) -> list[dict[str, Any]]:
    if limit is None or len(rows) <= limit:
        return rows
    count.drop(rule, len(rows) - limit)
    count.kept = limit
    chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))
    return [rows[index] for index in chosen]
