"""Styled text on lines of a width: no line is too wide, no word is lost."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len

from tui.wrap import wrapped_spans


def texts(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_lines_break_at_blanks_and_keep_indents_and_styles() -> None:
    lines = wrapped_spans([("one two ", ""), ("three\n  four", "bold")], 8)
    assert texts(lines) == ["one two ", "three", "  four"]
    assert lines[1] == [("three", "bold")] and lines[2] == [("  four", "bold")]
    assert texts(wrapped_spans([("one two three", "")], 7)) == ["one two", "three"]
    assert wrapped_spans([("a", ""), ("b ", ""), ("c", "bold")], 8) == [[("ab ", ""), ("c", "bold")]]
    assert texts(wrapped_spans([("a\n\n\tb", "")], 8)) == ["a", "", "    b"]


def test_what_is_wider_than_a_line_is_cut_by_cells() -> None:
    assert texts(wrapped_spans([("ab " + "x" * 10, "")], 4)) == ["ab ", "xxxx", "xxxx", "xx"]
    assert texts(wrapped_spans([("模型模型模", "")], 5)) == ["模型", "模型", "模"]


@pytest.mark.parametrize("width", [2, 5, 30])
def test_random_text_fits_and_loses_nothing_but_blanks(width: int) -> None:
    draw = random.Random(7)
    for _ in range(200):
        spans = [("".join(draw.choices("ab模 \n\t", k=draw.randrange(30))), style) for style in ("", "bold", "dim")]
        lines = texts(wrapped_spans(spans, width))
        assert all(cell_len(line) <= width for line in lines)
        assert "".join("".join(lines).split()) == "".join("".join(text for text, _ in spans).split())
