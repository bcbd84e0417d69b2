r"""Transcripts as in hh-rlhf: one text of `\n\nHuman: …` and `\n\nAssistant: …`, read as turns."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

from trainer.datasets.turns import Turn, assistant, text, user

_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def is_transcript(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value


def is_open(value: Any) -> TypeGuard[str]:
    """Whether `value` is a transcript that ends where an answer is to stand."""
    return is_transcript(value) and value.rstrip().endswith("\n\nAssistant:")


def transcript(value: str, name: str) -> list[Turn]:
    """The turns of a transcript, as they stand. Raises Unusable."""
    _, *parts = _SPEAKER.split(text(value, name).strip())
    said = zip(parts[::2], parts[1::2], strict=True)
    return [user(words.strip()) if speaker == "Human" else assistant(words.strip()) for speaker, words in said]


def alternating(said: list[Turn]) -> list[Turn]:
    """`said` with what one speaker says in turns in a row as one turn, for the templates that demand it."""
    joined: list[Turn] = []
    for turn in said:
        if joined and joined[-1]["role"] == turn["role"]:
            joined[-1] = {**turn, "content": f"{joined[-1]['content']}\n\n{turn['content']}".strip()}
        else:
            joined.append(turn)
    return joined


def open_prompt(value: str) -> list[Turn]:
    """The turns of a transcript that `is_open`. Raises Unusable."""
    return alternating(transcript(value, "prompt")[:-1])
