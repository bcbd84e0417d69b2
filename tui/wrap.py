"""Styled text as lines of a width."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

Span = tuple[str, str]  # text, name of a style
_TOKEN = re.compile(r"\n|[^\S\n]+|\S+")


def wrapped_spans(spans: Iterable[Span], width: int) -> list[list[Span]]:
    """The spans on lines of at most `width` cells, broken at blanks where there are any; indents stay."""
    lines: list[list[Span]] = [[]]
    used = 0
    for text, style in spans:
        for token in _TOKEN.findall(text.replace("\t", "    ")):
            if token == "\n":
                lines.append([])
                used = 0
                continue
            for part in chop_cells(token, width) if cell_len(token) > width else [token]:
                cells = cell_len(part)
                if used and used + cells > width:
                    lines.append([])
                    used = 0
                    if part.isspace():  # the break stands in its place
                        continue
                _add(lines[-1], part, style)
                used += cells
    return lines


def _add(line: list[Span], text: str, style: str) -> None:
    if line and line[-1][1] == style:
        line[-1] = (line[-1][0] + text, style)
    else:
        line.append((text, style))
