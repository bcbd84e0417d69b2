"""Programs that are carried into the sandbox as text: standard library alone, and no import of one another.

A program is put together by joining files, so none may begin with a `from __future__` import. They avoid `typing` and
its like: every millisecond that they take to start is paid for every completion.
"""

from pathlib import Path


def source(*names: str) -> str:
    """The text of these programs, one after the other."""
    return "\n\n".join((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8") for name in names)
