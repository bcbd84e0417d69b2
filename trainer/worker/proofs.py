"""The proof, from what TRL prepared, of what a run will train: counts over every row, before the first step."""

from __future__ import annotations

from typing import Any

from trainer.errors import DatasetError
from trainer.worker.data import Masking

PROOF_ROWS = 64


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


def prove_answers(trainer: Any, tokenizer: Any, answers: tuple[str, ...], rows_in: int) -> dict[str, Any]:
    """What is trained of prepared rows whose `answers` columns hold token ids, after `prompt_ids` where there are any.

    Rows that max_length cuts to nothing that differs are left out of `trainer.train_dataset`. Raises DatasetError where
    none is left.
    """
    prepared, longest = trainer.train_dataset, trainer.args.max_length
    kept: list[int] = []
    trained = masked = truncated = 0
    for index, row in enumerate(
        prepared.select_columns([c for c in ("prompt_ids", *answers) if c in prepared.column_names])
    ):
        prompt = len(row.get("prompt_ids", ()))
        room = max(longest - prompt, 0)
        sides = [row[column][:room] for column in answers]
        truncated += any(len(row[column]) > room for column in answers)
        if not any(sides) or (len(sides) > 1 and sides[0] == sides[1]):
            continue
        kept.append(index)
        trained += sum(map(len, sides))
        masked += prompt * len(sides)
    if not kept:
        raise DatasetError(
            "no row has an answer within training.max_length that could be learned from",
            "raise training.max_length, or look at the longest prompts",
        )
    if len(kept) < len(prepared):
        trainer.train_dataset = prepared.select(kept)
    first = [row[answers[0]] for row in trainer.train_dataset.select(range(min(PROOF_ROWS, len(kept))))]
    ends = {tokenizer.eos_token_id, *_turn_ends(tokenizer)}
    last = [next((token for token in reversed(ids) if token not in _blank(tokenizer)), None) for ids in first]
    return {
        "trained_tokens": trained,
        "masked_tokens": masked,
        "truncated": truncated,
        "eos_trained": round(sum(token in ends for token in last) / len(last), 3),
        "trained_text": tokenizer.decode(first[0])[:400],
        "dropped_by_max_length": rows_in - len(kept),  # TRL itself leaves some out
    }


def prove_prompts(rows: Any, tokenizer: Any) -> dict[str, Any]:
    """How long the prompts are that completions are drawn for, in tokens, under the chat template."""
    lengths = [
        len(
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
            if isinstance(prompt, list)
            else tokenizer(prompt)["input_ids"]
        )
        for prompt in rows["prompt"]
    ]
    return {
        "prompt_tokens_mean": round(sum(lengths) / len(lengths), 1),
        "prompt_tokens_max": max(lengths),
        "dropped_by_max_length": 0,
    }
