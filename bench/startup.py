"""How soon does `burnish` paint its first frame, over a hello-world Textual app?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.measure import BURNISH, PYTHON, Result, Terminal, in_turns, median, save, spread

HELLO = """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("hello, world")
Hello().run()
"""


def first_paint(argv: list[str], mark: bytes, home: str) -> float:
    terminal = Terminal(argv, columns=120, rows=40, env={"BURNISH_HOME": home})
    try:
        return terminal.until(mark, 60)
    finally:
        terminal.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text(HELLO)
        ours, baseline = in_turns(
            9,
            lambda: first_paint([BURNISH], b"burnish", folder),
            lambda: first_paint([PYTHON, str(hello)], b"hello, world", folder),
        )
    save(
        "startup",
        [
            Result(
                "`burnish` to first painted frame, over a hello-world Textual app",
                median(ours) / median(baseline),
                1.3,
                "x",
                spread(ours),
                spread(baseline),
                "python -m bench.startup",
            )
        ],
    )


if __name__ == "__main__":
    main()
