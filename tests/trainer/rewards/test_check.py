"""What is told of the rewards before a launch, in one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from recipes.errors import InputError
from recipes.rewards import Reward
from trainer.rewards.service import check_rewards

COLUMNS = {"question", "answer"}


def told(block: dict[str, Any], columns: set[str] = COLUMNS) -> str:
    """The message that a reward is refused with; empty where it is not."""
    try:
        check_rewards({"good": TypeAdapter[Any](Reward).validate_python(block)}, columns)
    except InputError as error:
        assert error.hint
        return error.message
    return ""


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": "numeric"}, ""),
        ({"kind": "tags"}, ""),
        ({"kind": "regex", "pattern": "a+"}, ""),
        ({"kind": "match", "extract": "<a>(.*?)</a>"}, ""),
        ({"kind": "json", "json_schema": {"type": "object"}}, ""),
        ({"kind": "numeric", "weight": 0.0}, "every reward has weight 0"),
        (
            {"kind": "numeric", "answer": "answers"},
            "`rewards.good.answer`: the rows have no column `answers`; did you mean `answer`?",
        ),
        (
            {"kind": "json", "column": "schema"},
            "`rewards.good.column`: the rows have no column `schema`; they have: answer, question",
        ),
        (
            {"kind": "python_tests"},
            "`rewards.good.tests`: the rows have no column `test`; they have: answer, question",
        ),
        (
            {"kind": "regex", "pattern": "(a"},
            "`rewards.good.pattern`: no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            {"kind": "match", "extract": "a+"},
            "`rewards.good.extract`: has no group: put what is to be taken in parentheses",
        ),
        (
            {"kind": "json", "json_schema": {"type": "thing"}},
            "`rewards.good.json_schema`: no JSON Schema: 'thing' is not valid under any of the given schemas (at $.type)",
        ),
        ({"kind": "length", "soft": 9, "hard": 9}, "`rewards.good.soft`: 9 has to be below `hard`, 9"),
        ({"kind": "tags", "tags": []}, "`rewards.good.tags`: no tag is named"),
        (
            {"kind": "tags", "tags": ["<think>"]},
            "`rewards.good.tags`: `<think>` is no name of a tag: write it without brackets",
        ),
    ],
)
def test_a_built_in_reward(block: dict[str, Any], message: str) -> None:
    assert told(block) == message


def test_no_rewards() -> None:
    with pytest.raises(InputError, match="the recipe has no rewards"):
        check_rewards({}, COLUMNS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def reward(prompts, completions, **columns): ...", ""),
        ("def reward(completions, answer, *, scale=1): ...", ""),
        ("if True:\n    from elsewhere import reward", ""),
        ("from elsewhere import *", ""),
        ("reward = lambda completions: [1.0]", ""),
        ("raise SystemExit  # looked at, never run\ndef reward(completions): ...", ""),
        ("def rewards(completions): ...", "`rewards.good.name`: {file} defines no `reward`"),
        ("def outer():\n    def reward(completions): ...", "`rewards.good.name`: {file} defines no `reward`"),
        ("def reward(:", "`rewards.good.file`: {file} does not parse at line 1: invalid syntax"),
        ("x = '\0'", "`rewards.good.file`: {file} does not parse"),
        ("async def reward(completions): ...", "`rewards.good.name`: `reward` is async: only ordinary functions are"),
        (
            "def reward(completions, solution): ...",
            "`rewards.good.name`: its parameter `solution` is not prompts or completions, and the rows have no column "
            "`solution`; they have: answer, question",
        ),
    ],
)
def test_a_function(tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    found = told({"kind": "function", "file": str(file)})
    assert found.startswith(message.format(file=file)) if message else found == ""


def test_a_function_whose_file_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    message = f"`rewards.good.file`: {file} cannot be read: No such file or directory"
    assert told({"kind": "function", "file": str(file)}) == message
