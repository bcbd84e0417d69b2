"""The pocket world: word problems whose answers can be checked, in splits that share no problem. No torch.

A problem is a kind and its operands; a hash of the two puts it into train, validation or test, so the same numbers in
the same kind of story never stand on both sides. Pretraining tells stories of the train split only, with the answer in
words or as a note under other keys: it carries the arithmetic and every token that a later stage asks for, but no
problem with the answer that is asked for.

Each stage has something of its own to teach. The rows of SFT answer in JSON, in styles mixed: few show their work, and few
name their unit. The pairs prefer the answer that names its unit. What is right is left to RFT: the number of two steps said
at once is often wrong, and that work helps is nowhere told.
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
LARGEST = 40  # operands, answers and what lies between stay within 0..LARGEST
WORKED = 0.25  # share of the answers in SFT rows that show their work
NAMED = 0.25  # share of them that name their unit


@dataclass(frozen=True)
class Kind:
    """A story with its question, the sentence that answers it, and the signs between its operands {a}, {b} and {c}."""

    question: str
    said: str
    signs: str


KINDS = {
    "gain": Kind(
        "{who} has {a} {things}. {other} gives {who} {b} more. How many {things} does {who} have now?",
        "{who} has {answer} {things} now.",
        "+",
    ),
    "loss": Kind(
        "{who} has {a} {things}. {who} loses {b} of them in the {place}. How many {things} are left?",
        "{answer} {things} are left.",
        "-",
    ),
    "together": Kind(
        "{who} has {a} {things} and {other} has {b} {things}. How many {things} do they have together?",
        "They have {answer} {things} together.",
        "+",
    ),
    "difference": Kind(
        "{who} has {a} {things} and {other} has {b} {things}. How many more {things} does {who} have?",
        "{who} has {answer} more {things}.",
        "-",
    ),
    "gain-loss": Kind(
        "{who} has {a} {things}. {other} gives {who} {b} more. {who} loses {c} of them in the {place}. "
        "How many {things} are left?",
        "{answer} {things} are left.",
        "+-",
    ),
    "loss-gain": Kind(
        "{who} has {a} {things}. {who} loses {b} of them in the {place}. {other} gives {who} {c} more. "
        "How many {things} does {who} have now?",
        "{who} has {answer} {things} now.",
        "-+",
    ),
    "together-gain": Kind(
        "{who} has {a} {things} and {other} has {b} {things}. They find {c} more in the {place}. "
        "How many {things} do they have together?",
        "They have {answer} {things} together.",
        "++",
    ),
}


@dataclass(frozen=True)
class Task:
    """One problem. `prompt` is what the user asks, `said` its answer in words, `unit` the things that are counted."""

    kind: str
    operands: tuple[int, ...]
    work: str  # its equations, each with its result
    answer: int
    prompt: str
    said: str
    unit: str
    shows_work: bool  # whether the SFT row does
    names_unit: bool

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


def split_of(kind: str, operands: tuple[int, ...]) -> Split:
    """The split that a problem belongs to: about a tenth each for validation and test."""
    bucket = zlib.crc32(f"{kind}{operands}".encode()) % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def _task(rng: random.Random, split: Split) -> Task:
    name = rng.choice(list(KINDS))
    kind = KINDS[name]
    while True:
        operands = tuple(rng.randint(1, LARGEST) for _ in range(len(kind.signs) + 1))
        results = _results(operands, kind.signs)
        if all(0 <= result <= LARGEST for result in results) and split_of(name, operands) == split:
            break
    who, other = rng.sample(NAMES, 2)
    words = {"who": who, "other": other, "things": rng.choice(THINGS), "place": rng.choice(PLACES)}
    before = (operands[0], *results)
    return Task(
        kind=name,
        operands=operands,
        work=", ".join(
            f"{before[at]}{sign}{operands[at + 1]}={result}"
            for at, (sign, result) in enumerate(zip(kind.signs, results, strict=True))
        ),
        answer=results[-1],
        prompt=kind.question.format(**dict(zip("abc", operands, strict=False)), **words),
        said=kind.said.format(answer=results[-1], **words),
        unit=words["things"],
        shows_work=rng.random() < WORKED,
        names_unit=rng.random() < NAMED,
    )


def _results(operands: tuple[int, ...], signs: str) -> list[int]:
    """What each step comes to."""
    found, sofar = [], operands[0]
    for sign, operand in zip(signs, operands[1:], strict=True):
        sofar += operand if sign == "+" else -operand
        found.append(sofar)
    return found


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
    worked = {"sum": task.work} if rng.random() < 0.5 else {}
    note = json.dumps({**worked, "count": task.answer, "unit": task.unit})
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
