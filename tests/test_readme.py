"""What the README says is so: its commands parse, its keys are those of the registry, its pictures exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from recipes.loading import load
from tui import main
from tui.actions import key_table

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix(".venv/bin/").partition("#")[0].strip()
    for block in re.findall(r"```\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
]
INLINE = re.findall(r"`(burnish [^`]+)`", TEXT.partition("<!-- keys -->")[0])


@pytest.mark.parametrize("command", [*COMMANDS, *INLINE])
def test_every_command_is_one(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
        return
    assert words[0] == "burnish"
    if len(words) == 1:
        return
    args = main._parser(words[1]).parse_args(words[1:])
    assert args.verb == words[1]
    if args.verb == "run":
        load(args.recipe, args.overrides)


def test_the_key_table_is_that_of_the_registry() -> None:
    assert key_table() in TEXT


def test_every_picture_is_there() -> None:
    for picture in re.findall(r"\]\((screenshots/[^)]+)\)", TEXT):
        assert (ROOT / picture).exists(), picture
