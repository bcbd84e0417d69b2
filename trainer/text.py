"""Untrusted text made safe to show. Standard library only."""

from __future__ import annotations

import unicodedata

_KEEP = {"\n", "\t"}
_REPLACEMENT = "�"
# Bidirectional overrides and isolates can make a line read as something else than it is.
_BIDI = {chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def clean(text: str) -> str:
    """`text` with every control character, escape and bidirectional override replaced by a visible mark.

    Newlines and tabs stay. What comes from a dataset, a model, a log or a process name goes through here before it
    may reach a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in _KEEP or not (unicodedata.category(c) in ("Cc", "Cs") or c in _BIDI) else _REPLACEMENT for c in text
    )


def one_line(text: str, width: int | None = None) -> str:
    """`text` cleaned and on one line, newlines shown as a return sign, cut to `width` characters with an ellipsis."""
    line = clean(text).replace("\n", "⏎").replace("\t", " ")
    if width is not None and len(line) > width:
        return line[: max(width - 1, 0)] + "…"
    return line
