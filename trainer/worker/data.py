"""The rows of a run as datasets for TRL."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.schema import Method, Recipe
from trainer.datasets.splits import Split, load_split
from trainer.errors import DatasetError
from trainer.pocket import cache

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


# The pocket's files of rows to train on and rows held out, by what a method learns from.
_TASKS, _PAIRS = ("train.jsonl", "validation.jsonl"), ("pairs.jsonl", "pairs_validation.jsonl")
POCKET_ROWS: dict[Method, tuple[str, str]] = {
    "sft": _TASKS, "cpt": (cache.TEXT, ""), "dpo": _PAIRS, "kto": _PAIRS, "reward": _PAIRS,
    "rloo": _TASKS, "grpo": _TASKS, "ppo": _TASKS,
}  # fmt: skip


def split_of(recipe: Recipe, pocket: Path | None) -> Split:
    """The rows of the recipe; `pocket` is the folder of the pocket model where the recipe asks for its rows."""
    data = recipe.data
    train, held_out = data.train, data.eval
    train_rows, held_out_rows = POCKET_ROWS[recipe.method]
    if train == "pocket" and held_out is None and held_out_rows:
        held_out = "pocket"
    return load_split(
        _path(train, train_rows, pocket),
        _path(held_out, held_out_rows or "validation.jsonl", pocket) if held_out else None,
        data,
        recipe.method,
        recipe.training.data_seed,
    )


def _path(given: str, file: str, pocket: Path | None) -> Path:
    return (pocket or cache.folder()) / file if given == "pocket" else Path(given)


@dataclass(frozen=True)
class Rows:
    """What a method trains on and is evaluated on."""

    train: Any  # a Dataset
    eval: Any  # a Dataset or None
    masking: Masking | None = None  # of the methods that imitate
    columns: list[dict[str, Any]] = field(default_factory=list)  # of the methods that are rewarded: whole rows


@dataclass(frozen=True)
class Masking:
    """Which tokens are trained, under TRL's two switches, and what had to be done to the rows for it."""

    name: str  # completion_only, assistant_only or none
    completion_only_loss: bool | None
    assistant_only_loss: bool
    last_answer_only: bool = False


def decide_masking(recipe: Recipe, split: Split, tokenizer: PreTrainedTokenizerBase) -> Masking:
    """The masking that fits the data. Raises DatasetError where the recipe asks for one that the data cannot have."""
    wanted = recipe.data.masking
    row = split.train[0]
    if "text" in row:
        if wanted not in ("auto", "none"):
            raise DatasetError(f"data.masking={wanted} needs answers to tell from prompts, the rows are plain text", "")
        return Masking("none", None, False)
    if wanted == "none":
        return Masking("none", False, False)
    if "prompt" in row:
        if wanted == "assistant_only":
            return Masking("assistant_only", True, False)  # the completion is what the assistant says
        return Masking("completion_only", True, False)
    if wanted != "completion_only" and _marks_generation(tokenizer, recipe.data.chat_template_path):
        return Masking("assistant_only", None, True)
    if wanted == "assistant_only":
        raise DatasetError(
            "data.masking=assistant_only needs a chat template with {% generation %} markers; this model's has none",
            "set data.chat_template_path to a template that has them, or data.masking=completion_only",
        )
    return Masking("completion_only", True, False, last_answer_only=True)


def _marks_generation(tokenizer: PreTrainedTokenizerBase, given: str | None) -> bool:
    """Whether assistant masks work: by the template's own markers, or by TRL's version of a known template.

    `given` is the template file of the recipe, which then counts instead of the tokenizer's own.
    """
    from trl.chat_template_utils import get_training_chat_template

    if given and Path(given).is_file():
        return "generation" in Path(given).read_text()
    template = str(tokenizer.chat_template or "")
    if "{% generation %}" in template or "{%- generation" in template:
        return True
    try:
        return get_training_chat_template(tokenizer) is not None
    except ValueError:
        return False


def as_dataset(rows: list[dict[str, Any]], masking: Masking | None = None) -> Dataset | None:
    """`rows` for TRL, None where there are none; with `last_answer_only` each conversation is cut at its last answer."""
    from datasets import Dataset

    if not rows:
        return None
    if masking and masking.last_answer_only:
        rows = [
            {**row, "prompt": row["messages"][:-1], "completion": row["messages"][-1:]} if "messages" in row else row
            for row in rows
        ]
        rows = [{key: value for key, value in row.items() if key != "messages"} for row in rows]
    columns: dict[str, None] = dict.fromkeys(key for row in rows for key in row)
    return Dataset.from_list(
        [{key: json.dumps(row.get(key)) if key == "tools" else row.get(key) for key in columns} for row in rows]
    )
