"""The part of a completion that a regular expression of the recipe names."""

from __future__ import annotations

import re


def last_group(pattern: str, text: str) -> str | None:
    """The first group of the last match of `pattern`, or None. The last: a chain of thought names others before it."""
    found = None
    for match in re.finditer(pattern, text, re.DOTALL):
        found = match.group(1)
    return found
