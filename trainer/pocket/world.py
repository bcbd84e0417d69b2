"""The pocket world: word problems whose answers can be checked, in splits that share no problem. No torch.

A problem is a kind and its operands; a hash of the two puts it into train, validation or test, so the same numbers in
the same kind of story never stand on both sides. Pretraining tells stories of the train split only, with the answer in
words or as a note under other keys: it carries the arithmetic and every token that a later stage asks for, but no
problem with the answer that is asked for.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

NAMES = ("Mia", "Tom", "Ana", "Ben", "Eva", "Leo", "Zoe", "Max", "Ida", "Sam")
THINGS = ("apples", "books", "coins", "pens", "cards", "stones", "cups", "shells")
PLACES = ("shop", "park", "school", "house", "garden")
LARGEST = 40  # operands and answers of one step stay within 0..LARGEST

# kind: (story with its question, the sentence that answers it). {c} is the answer, {who} and {other} are two people.
KINDS: dict[str, tuple[str, str]] = {
    "gain": (
        "{who} has {a} {things}. {other} gives {who} {b} more. How many {things} does {who} have now?",
        "{who} has {c} {things} now.",
    ),
    "loss": (
        "{who} has {a} {things}. {who} loses {b} of them in the {place}. How many {things} are left?",
        "{c} {things} are left.",
    ),
    "together": (
        "{who} has {a} {things} and {other} has {b} {things}. How many {things} do they have together?",
        "They have {c} {things} together.",
    ),
    "difference": (
        "{who} has {a} {things} and {other} has {b} {things}. How many more {things} does {who} have?",
        "{who} has {c} more {things}.",
    ),
}
SUBTRACTS = frozenset({"loss", "difference"})


@dataclass(frozen=True)
class Task:
    """One problem. `prompt` is what the user asks, `completion` the JSON text that answers it, `said` the same in words."""

    kind: str
    operands: tuple[int, int]
    answer: int
    prompt: str
    completion: str
    said: str

    def row(self) -> dict[str, object]:
        """The task as a training row in TRL's conversational prompt-completion form, with the answer beside it."""
        return {
            "prompt": [{"role": "user", "content": self.prompt}],
            "completion": [{"role": "assistant", "content": self.completion}],
            "answer": self.answer,
        }


@dataclass(frozen=True)
class World:
    """All tasks and texts that follow from a seed."""

    seed: int = 0

    def tasks(self, split: Split, count: int) -> list[Task]:
        """`count` tasks of `split`, drawn by the seed: the same ones every time, no problem text twice."""
        rng = random.Random(f"{self.seed}/{split}")
        drawn: dict[str, Task] = {}
        while len(drawn) < count:
            task = _task(rng, split)
            drawn.setdefault(task.prompt, task)
        return list(drawn.values())

    def pretraining(self) -> Iterator[str]:
        """Documents without end: sums, stories, dialogues that end in words or a note, and JSON without a story."""
        rng = random.Random(f"{self.seed}/pretraining")
        makers = (_sum, _story, _dialogue, _dialogue, _dialogue, _json_line)
        while True:
            yield rng.choice(makers)(rng)


def split_of(kind: str, operands: tuple[int, int]) -> Split:
    """The split that a problem belongs to: about a tenth each for validation and test."""
    bucket = zlib.crc32(f"{kind}{operands}".encode()) % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def _task(rng: random.Random, split: Split) -> Task:
    while True:
        kind = rng.choice(list(KINDS))
        a, b = rng.randint(1, LARGEST), rng.randint(1, LARGEST)
        answer = a - b if kind in SUBTRACTS else a + b
        if 0 <= answer <= LARGEST and split_of(kind, (a, b)) == split:
            break
    who, other = rng.sample(NAMES, 2)
    words = {"who": who, "other": other, "things": rng.choice(THINGS), "place": rng.choice(PLACES)}
    question, said = KINDS[kind]
    sign = "-" if kind in SUBTRACTS else "+"
    return Task(
        kind=kind,
        operands=(a, b),
        answer=answer,
        prompt=question.format(a=a, b=b, **words),
        completion=json.dumps({"work": f"{a}{sign}{b}={answer}", "answer": answer}),
        said=said.format(c=answer, **words),
    )


def _sum(rng: random.Random) -> str:
    """A line of plain sums and differences, each right."""
    return " ".join(_equation(rng) for _ in range(4))


def _equation(rng: random.Random) -> str:
    a, b = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    return f"{a}+{b}={a + b}" if a + b <= LARGEST else f"{max(a, b)}-{min(a, b)}={abs(a - b)}"


def _story(rng: random.Random) -> str:
    task = _task(rng, "train")
    a, b = task.operands
    sign = "-" if task.kind in SUBTRACTS else "+"
    return f"{task.prompt} {a}{sign}{b}={task.answer}. {task.said}"


def _dialogue(rng: random.Random) -> str:
    """A question in the markers of the chat template, answered in words, as work and answer, or as a note in JSON.

    The note has other keys than the answer that a later stage asks for: numbers inside quotes are met, the answer is not.
    """
    task = _task(rng, "train")
    a, b = task.operands
    worked = f"{a}{'-' if task.kind in SUBTRACTS else '+'}{b}={task.answer}"
    note = json.dumps({"sum": worked, "count": task.answer})
    said = rng.choice((task.said, f"work: {worked}, answer: {task.answer}", note))
    return f"<|im_start|>user\n{task.prompt}<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>\n"


def _json_line(rng: random.Random) -> str:
    """JSON without a story: braces, quotes and commas, on bare sums and other things."""
    equation = _equation(rng)
    record = rng.choice(
        (
            {"name": rng.choice(NAMES), "count": rng.randint(0, LARGEST)},
            {"things": rng.choice(THINGS), "place": rng.choice(PLACES)},
            {"sum": equation, "count": int(equation.partition("=")[2])},
        )
    )
    return json.dumps(record)
