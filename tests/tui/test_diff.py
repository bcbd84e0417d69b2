"""A word-level diff: both texts are in it whole, and it marks no more than what differs."""

from __future__ import annotations

import random
import time

import pytest

from tui.diff import Piece, styled, words


def sides(pieces: list[Piece]) -> tuple[str, str]:
    """The two texts that a diff was made of."""
    before = "".join(piece.text for piece in pieces if piece.kind != "added")
    return before, "".join(piece.text for piece in pieces if piece.kind != "removed")


def test_the_words_that_differ_are_marked_in_the_text() -> None:
    pieces = words("the answer is 41 apples", "the answer is 42 pears now")
    assert "".join(text for text, _ in styled(pieces)) == "the answer is [-41 apples-]{+42 pears now+}"
    assert [style for _, style in styled(pieces)] == ["", "trouble", "good"]
    assert words("one two three four", "one 2 three 4") == [
        Piece("same", "one "), Piece("removed", "two"), Piece("added", "2"), Piece("same", " three "),
        Piece("removed", "four"), Piece("added", "4"),
    ]  # fmt: skip


@pytest.mark.parametrize("before", ["", "a", "a b", "  a\n\nb\tc ", "x " * 3000])
@pytest.mark.parametrize("after", ["", "b", "a  b", "  a\n b\tc", "x " * 2990 + "y"])
def test_both_texts_are_in_it_whole(before: str, after: str) -> None:
    assert sides(words(before, after)) == (before, after)


def test_equal_texts_have_no_change() -> None:
    assert words("a b\nc", "a b\nc") == [Piece("same", "a b\nc")]
    assert words("", "") == []


def test_random_texts_are_in_it_whole() -> None:
    draw = random.Random(7)
    for _ in range(200):
        before, after = ("".join(draw.choices("ab \n", k=draw.randrange(12))) for _ in range(2))
        assert sides(words(before, after)) == (before, after)


def test_a_megabyte_is_compared_in_seconds() -> None:
    draw = random.Random(7)
    before, after = (" ".join(str(draw.randrange(50)) for _ in range(350_000)) for _ in range(2))
    start = time.monotonic()
    assert sides(words(before, after)) == (before, after)
    assert time.monotonic() - start < 10
