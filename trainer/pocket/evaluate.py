"""How a model does on the world's held-out problems, in a process of its own: no torch stays with the caller.

`python -P -m trainer.pocket.evaluate BASE [--adapter DIR] --pairs FILE --out FILE`
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import LaunchError
from trainer.evaluation.exact_match import grade
from trainer.runs.folder import write_json

if TYPE_CHECKING:
    import torch

BATCH = 100


@dataclass(frozen=True)
class Graded:
    """Grades of one model on the same problems, one entry a problem, and the first few answers as they came.

    `valid`: a JSON object with an `answer`. `named`: it names the right unit, which is what the pairs prefer.
    `ranked`: of the two answers of the pair the model finds the preferred one likelier. `correct`: the number is right.
    `worked`: the answer shows work, right or wrong.
    """

    valid: list[bool]
    named: list[bool]
    ranked: list[bool]
    correct: list[bool]
    worked: list[bool]
    examples: list[dict[str, str]]


def evaluate(base: Path, pairs: Path, out: Path, adapter: Path | None = None) -> Graded:
    """Grade `base`, with `adapter` on it where given, under NF4 as it is trained. Raises LaunchError.

    A pair's preferred answer is what a perfect model would say: it has the right number and the right unit.
    """
    command = [
        sys.executable,
        "-P",
        "-m",
        "trainer.pocket.evaluate",
        str(base),
        "--pairs",
        str(pairs),
        "--out",
        str(out),
    ]
    if adapter is not None:
        command += ["--adapter", str(adapter)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},  # all is on the disk: a hub that hangs must not matter
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LaunchError(f"the evaluation of {adapter or base} failed: {said}", "`burnish doctor` checks the box")
    return Graded(**json.loads(out.read_text()))


def graded(model: Any, tokenizer: Any, pairs: list[dict[str, Any]]) -> Graded:
    """The grades of a model in this process, one batch at a time."""
    from trainer.evaluation.generate import answers

    said = answers(model, tokenizer, [pair["prompt"] for pair in pairs], max_new_tokens=48, batch_size=BATCH)
    grades: dict[str, list[bool]] = {field.name: [] for field in fields(Graded) if field.name != "examples"}
    for pair, text in zip(pairs, said, strict=True):
        wanted = json.loads(pair["chosen"][-1]["content"])
        found = grade(text, wanted["answer"])
        answer = json.loads(text) if found.valid else {}
        answer = answer if "answer" in answer else {}
        grades["valid"].append(bool(answer))
        grades["correct"].append(found.correct)
        grades["named"].append(answer.get("unit") == wanted["unit"])
        grades["worked"].append("work" in answer)
    grades["ranked"] = ranked(model, tokenizer, pairs)
    examples = [
        {"prompt": pair["prompt"][-1]["content"], "completion": text, "reference": pair["chosen"][-1]["content"]}
        for pair, text in list(zip(pairs, said, strict=True))[:4]
    ]
    return Graded(**grades, examples=examples)


def ranked(model: Any, tokenizer: Any, pairs: list[dict[str, Any]]) -> list[bool]:
    """Whether the chosen answer of each pair has the higher log-probability."""
    chosen, rejected = (
        [
            likelihood
            for start in range(0, len(pairs), BATCH)
            for likelihood in _log_probabilities(model, tokenizer, pairs[start : start + BATCH], side)
        ]
        for side in ("chosen", "rejected")
    )
    return [better > worse for better, worse in zip(chosen, rejected, strict=True)]


def _log_probabilities(model: Any, tokenizer: Any, pairs: list[dict[str, Any]], side: str) -> list[float]:
    """The log-probability of one side of each pair, its end of turn included, given the prompt."""
    import torch

    whole = [pair["prompt"] + pair[side] for pair in pairs]
    batch = tokenizer.apply_chat_template(
        whole, return_dict=True, return_tensors="pt", padding=True, return_assistant_tokens_mask=True
    )
    tokens: torch.Tensor = batch["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=tokens, attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    of_tokens = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
    answered = torch.as_tensor(batch["assistant_masks"])[:, 1:]
    found: list[float] = (of_tokens * answered).sum(-1).tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    from recipes.loading import load
    from trainer.worker import models

    recipe = load("sft-qlora").recipe
    model: Any
    model, tokenizer = models.load(recipe, str(arguments.base), models.pick_device(recipe.resources))
    if arguments.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(arguments.adapter))
    model.eval()
    pairs = [json.loads(line) for line in arguments.pairs.read_text().splitlines()]
    write_json(arguments.out, asdict(graded(model, tokenizer, pairs)))


if __name__ == "__main__":
    main()
