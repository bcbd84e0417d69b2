"""The characters that pictures are drawn with, for terminals and fonts that differ."""

from __future__ import annotations

import locale
from typing import Literal

Style = Literal["braille", "block", "ascii"]

MARKS: dict[str, tuple[str, str]] = {  # state of a run: (mark, mark in ASCII)
    "queued": ("○", "o"), "starting": ("◌", "o"), "running": ("●", "*"), "stopping": ("◐", "*"),
    "finished": ("✓", "+"), "failed": ("✗", "x"), "killed": ("✗", "x"), "lost": ("?", "?"),
}  # fmt: skip


def pick(ascii_only: bool) -> Style:
    """ASCII where it is asked for or the locale is not UTF-8, else braille."""
    return "ascii" if ascii_only or "utf" not in locale.getpreferredencoding(False).lower() else "braille"


def bar(share: float, width: int, style: Style) -> str:
    """A bar of `width` cells of which `share` (0 to 1) is filled; anything above nothing shows at least one cell."""
    share = min(max(share, 0.0), 1.0)
    filled = min(max(round(share * width), 1 if share > 0 else 0), width)
    full, empty = ("#", "-") if style == "ascii" else ("█", "░")
    return full * filled + empty * (width - filled)


def rule(title: str, width: int, style: Style) -> str:
    """A title on a line across the screen."""
    line = "-" if style == "ascii" else "─"
    head = f"{line} {title} "
    return head + line * max(width - len(head), 0)
