"""Held-out exact match of a model on the world's tasks, in a process of its own: no torch stays with the caller.

`python -P -m trainer.pocket.evaluate BASE [--adapter DIR] --rows FILE --out FILE`
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.errors import LaunchError
from trainer.evaluation.exact_match import grade
from trainer.runs.folder import write_json


@dataclass(frozen=True)
class Graded:
    """Grades of one model on the same rows: one entry a row, and the first few answers as they came."""

    correct: list[bool]
    valid: list[bool]
    examples: list[dict[str, str]]


def evaluate(base: Path, rows: Path, out: Path, adapter: Path | None = None) -> Graded:
    """Grade `base`, with `adapter` on it where given, under NF4 as it is trained. Raises LaunchError."""
    command = [sys.executable, "-P", "-m", "trainer.pocket.evaluate", str(base), "--rows", str(rows), "--out", str(out)]
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    from recipes.loading import load
    from trainer.evaluation.generate import answers
    from trainer.worker import models

    recipe = load("sft-qlora").recipe
    model, tokenizer = models.load(recipe, str(arguments.base), models.pick_device(recipe.resources))
    if arguments.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(arguments.adapter))
    model.eval()
    rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    said = answers(model, tokenizer, [row["prompt"] for row in rows], max_new_tokens=48)
    grades = [grade(text, row["answer"]) for text, row in zip(said, rows, strict=True)]
    examples = [
        {"prompt": row["prompt"][-1]["content"], "completion": text, "reference": row["completion"][-1]["content"]}
        for row, text in list(zip(rows, said, strict=True))[:4]
    ]
    write_json(arguments.out, asdict(Graded([g.correct for g in grades], [g.valid for g in grades], examples)))


if __name__ == "__main__":
    main()
