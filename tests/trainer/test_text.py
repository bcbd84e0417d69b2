"""Hostile text never reaches the terminal as it is."""

from __future__ import annotations

from trainer.text import clean, one_line


def test_escape_sequences_lose_their_escape() -> None:
    assert "\x1b" not in clean("\x1b[2J\x1b]52;c;Zm9v\x07 hello")
    assert clean("\x9b31m") == "�31m"


def test_bidirectional_overrides_are_shown() -> None:
    assert clean("a‮b") == "a�b"


def test_plain_text_in_any_script_is_untouched() -> None:
    assert clean("größe 模型 🙂\n\tx") == "größe 模型 🙂\n\tx"


def test_one_line_has_one_line_and_fits() -> None:
    assert one_line("a\nb\x00c", 4) == "a⏎b…"
