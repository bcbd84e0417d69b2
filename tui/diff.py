"""What changed between two texts, word by word, marked in the text itself: `[-gone-]` and `{+new+}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["same", "removed", "added"]
_TOKEN = re.compile(r"\s+|\S+")
_COMPARED = 2000  # words of each text that are matched; the time grows with their product
_MARKS: dict[Kind, tuple[str, str, str]] = {
    "same": ("", "", ""), "removed": ("[-", "-]", "trouble"), "added": ("{+", "+}", "good"),
}  # fmt: skip


class Piece(NamedTuple):
    """A stretch of text and where it stands: in both, only in the first, or only in the second."""

    kind: Kind
    text: str


def words(before: str, after: str) -> list[Piece]:
    """The two texts as pieces: without the added ones they are `before`, without the removed ones `after`."""
    a, b = _TOKEN.findall(before), _TOKEN.findall(after)
    head = _shared(a, b)
    tail = _shared(a[head:][::-1], b[head:][::-1])
    middle = _changed(a[head : len(a) - tail], b[head : len(b) - tail])
    pieces = [Piece("same", "".join(a[:head])), *middle, Piece("same", "".join(a[len(a) - tail :]))]
    return [piece for piece in pieces if piece.text]


def styled(pieces: list[Piece]) -> list[tuple[str, str]]:
    """The pieces as spans of a line, (text, style); the marks tell them apart where there is no colour."""
    spans = []
    for kind, text in pieces:
        start, end, style = _MARKS[kind]
        spans.append((f"{start}{text}{end}", style))
    return spans


def _shared(a: list[str], b: list[str]) -> int:
    """How many words two lists begin with in common."""
    for index, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return index
    return min(len(a), len(b))


def _changed(a: list[str], b: list[str]) -> Iterator[Piece]:
    """Removed and added stretches in turn, with what stays between them. Blanks alone between changes are no rest."""
    removed, added = "", ""
    matcher = SequenceMatcher(None, a[:_COMPARED], b[:_COMPARED], autojunk=False)
    for kind, a1, a2, b1, b2 in matcher.get_opcodes():
        gone, new = "".join(a[a1:a2]), "".join(b[b1:b2])
        if kind == "equal" and not (gone.isspace() and (removed or added)):
            yield from (Piece("removed", removed), Piece("added", added), Piece("same", gone))
            removed, added = "", ""
        else:
            removed, added = removed + gone, added + new
    yield Piece("removed", removed + "".join(a[_COMPARED:]))
    yield Piece("added", added + "".join(b[_COMPARED:]))
