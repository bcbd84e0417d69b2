"""The pocket world: word problems whose answers can be checked, in splits that share no problem. No torch.

A problem is a kind and its operands; a hash of the two puts it into train, validation or test, so the same numbers in
the same kind of story never stand on both sides. Pretraining tells stories of the train split only, with the answer in
words or as a note under other keys: it carries the arithmetic and every token that a later stage asks for, but no
problem with the answer that is asked for.

Each stage has something of its own to teach. The rows of SFT answer in JSON, in styles mixed: few show their work, and few
name their unit. The pairs prefer the answer that names its unit. What is right is left to RFT: a number said at once is
often wrong, and that work helps is nowhere told.
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
WORKED = 0.25  # share of the answers in SFT rows that show their work
NAMED = 0.25  # share of them that name their unit

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
    """One problem. `prompt` is what the user asks, `said` its answer in words, `unit` the things that are counted."""

    kind: str
    operands: tuple[int, int]
    answer: int
    prompt: str
    said: str
    unit: str
    shows_work: bool  # whether the SFT row does
    names_unit: bool

    @property
    def work(self) -> str:
        a, b = self.operands
        return f"{a}{'-' if self.kind in SUBTRACTS else '+'}{b}={self.answer}"

    @property
    def completion(self) -> str:
        """The JSON text that answers it, in the style of its SFT row."""
        return self._in_json(names_unit=self.names_unit)

    def _in_json(self, *, names_unit: bool) -> str:
        work = {"work": self.work} if self.shows_work else {}
        return json.dumps({**work, "answer": self.answer, **({"unit": self.unit} if names_unit else {})})

    def pair(self) -> dict[str, object]:
        """The task as a preference pair in TRL's conversational form: of two right answers, the one with its unit."""
        return {
            "prompt": [{"role": "user", "content": self.prompt}],
            "chosen": [{"role": "assistant", "content": self._in_json(names_unit=True)}],
            "rejected": [{"role": "assistant", "content": self._in_json(names_unit=False)}],
        }

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
        makers = (_sums, _story, _dialogue, _dialogue, _dialogue, _records)
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
    return Task(
        kind=kind,
        operands=(a, b),
        answer=answer,
        prompt=question.format(a=a, b=b, **words),
        said=said.format(c=answer, **words),
        unit=words["things"],
        shows_work=rng.random() < WORKED,
        names_unit=rng.random() < NAMED,
    )


def _sums(rng: random.Random) -> str:
    """A line of plain sums and differences, each right."""
    return " ".join(_equation(rng) for _ in range(8))


def _equation(rng: random.Random) -> str:
    a, b = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    return f"{a}+{b}={a + b}" if a + b <= LARGEST else f"{max(a, b)}-{min(a, b)}={abs(a - b)}"


def _story(rng: random.Random) -> str:
    task = _task(rng, "train")
    return f"{task.prompt} {task.work}. {task.said}"


def _dialogue(rng: random.Random) -> str:
    """A question in the markers of the chat template, answered in words, as work and answer, or as a note in JSON.

    The note has other keys than the answer that a later stage asks for: numbers inside quotes are met, the answer is not.
    """
    task = _task(rng, "train")
    note = json.dumps({"sum": task.work, "count": task.answer, "unit": task.unit})
    said = rng.choice((task.said, f"work: {task.work}, answer: {task.answer}", note))
    return f"<|im_start|>user\n{task.prompt}<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>\n"


def _records(rng: random.Random) -> str:
    """JSON without a story: braces, quotes, commas and every key, on bare sums and other things, never a number answered.

    A key that is rare here has a small embedding, which is frozen later: no adapter could make the model sure of it.
    """
    return "\n".join(json.dumps(_record(rng)) for _ in range(3))


def _record(rng: random.Random) -> dict[str, object]:
    equation = _equation(rng)
    records: tuple[dict[str, object], ...] = (
        {"name": rng.choice(NAMES), "count": rng.randint(0, LARGEST)},
        {"things": rng.choice(THINGS), "place": rng.choice(PLACES)},
        {"sum": equation, "count": int(equation.partition("=")[2])},
        {"work": equation, "name": rng.choice(NAMES)},
        {"answer": rng.choice(("yes", "no")), "place": rng.choice(PLACES)},
    )
    return rng.choice(records)
