"""The rows of a run as datasets for TRL, and the proof, from the labels, of what is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.schema import Recipe
from trainer.datasets.splits import Split, load_split
from trainer.errors import DatasetError
from trainer.pocket import cache

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

PROOF_ROWS = 64


def split_of(recipe: Recipe, pocket: Path | None) -> Split:
    """The rows of the recipe; `pocket` is the folder of the pocket model where the recipe asks for its rows."""
    data = recipe.data
    train, held_out = data.train, data.eval
    tasks = recipe.method != "cpt"
    if train == "pocket" and held_out is None and tasks:
        held_out = "pocket"
    return load_split(
        _path(train, "train.jsonl" if tasks else cache.TEXT, pocket),
        _path(held_out, "validation.jsonl", pocket) if held_out else None,
        data,
        recipe.method,
        recipe.training.data_seed,
    )


def _path(given: str, file: str, pocket: Path | None) -> Path:
    return (pocket or cache.folder()) / file if given == "pocket" else Path(given)


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


def as_dataset(rows: list[dict[str, Any]], masking: Masking) -> Dataset | None:
    """`rows` for TRL, None where there are none; with `last_answer_only` each conversation is cut at its last answer."""
    from datasets import Dataset

    if not rows:
        return None
    if masking.last_answer_only:
        rows = [
            {**row, "prompt": row["messages"][:-1], "completion": row["messages"][-1:]} if "messages" in row else row
            for row in rows
        ]
        rows = [{key: value for key, value in row.items() if key != "messages"} for row in rows]
    columns: dict[str, None] = dict.fromkeys(key for row in rows for key in row)
    return Dataset.from_list(
        [{key: json.dumps(row.get(key)) if key == "tools" else row.get(key) for key in columns} for row in rows]
    )


def prove_labels(prepared: Any, collator: Any, tokenizer: Any, masking: Masking, rows_in: int) -> dict[str, Any]:
    """What the labels say is trained: counts over every prepared row, and the collator's own labels on some.

    Raises DatasetError where no token is trained, or where the collator's labels are not those of the rows.
    """
    if len(prepared) == 0:
        raise DatasetError(
            "no row has a token that is trained: training.max_length cuts every answer away",
            "raise training.max_length, or look at the longest prompts",
        )
    labels = prepared["labels"]
    trained = sum(sum(label != -100 for label in row) for row in labels)
    tokens = sum(len(row) for row in labels)
    rows = [prepared[index] for index in range(min(PROOF_ROWS, len(prepared)))]
    if "seq_lengths" not in prepared.column_names:  # packed rows are joined by the collator's own rule
        batch = collator([{key: row[key] for key in ("input_ids", "labels")} for row in rows])["labels"]
        for made, row in zip(batch.tolist(), rows, strict=True):
            if made[: len(row["labels"])] != row["labels"] or any(
                label != -100 for label in made[len(row["labels"]) :]
            ):
                raise DatasetError("the collator's labels differ from the prepared rows", "report this: it is a defect")
    ends = {tokenizer.eos_token_id, *_turn_ends(tokenizer)}
    last = [
        next((label for label in reversed(row["labels"]) if label not in (-100, *_blank(tokenizer))), None)
        for row in rows
    ]
    first = rows[0]["labels"]
    return {
        "trained_tokens": trained,
        "masked_tokens": tokens - trained,
        "masking": masking.name,
        "last_answer_only": masking.last_answer_only,
        "eos_trained": round(sum(label in ends for label in last) / len(last), 3),
        "trained_text": tokenizer.decode([label for label in first if label != -100])[:400],
        "dropped_by_max_length": rows_in - len(prepared) if "seq_lengths" not in prepared.column_names else 0,
    }


def _turn_ends(tokenizer: Any) -> set[int]:
    """Tokens by which templates end a turn where it is not the tokenizer's own end of sequence."""
    known = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<|end|>")
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[token] for token in known if token in vocabulary}


def _blank(tokenizer: Any) -> set[int]:
    """Tokens that are only a line's end, which some templates put after the end of a turn."""
    return {ids[0] for text in ("\n", "\n\n") if len(ids := tokenizer.encode(text, add_special_tokens=False)) == 1}
