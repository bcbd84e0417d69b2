"""The terminal before Textual: the settings that Textual reads when it is imported, and signals that it does not handle."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable

# Set before the first import of textual. ansi-dark is the terminal's own sixteen colours on its own background; set
# later, in code, NO_COLOR would turn it into black on black.
DEFAULTS = {"TEXTUAL_THEME": "ansi-dark", "TEXTUAL_ANIMATIONS": "none", "TEXTUAL_SMOOTH_SCROLL": "0"}

_WATCH_S = 2.0


def prepare() -> None:
    """Set Textual's defaults unless the person did. A hang-up must end us even where it was set to be ignored."""
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


async def leave_when_gone(leave: Callable[[int], object]) -> None:
    """Call `leave(exit code)` on SIGHUP, on SIGTERM, and when the terminal went away without a signal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM):
        loop.add_signal_handler(number, leave, 128 + number)
    line = select.poll()
    line.register(0, 0)  # a hang-up is always told
    while os.isatty(0) or line.poll(0):  # else there is no terminal to lose: a test, a recording
        if line.poll(0):  # the pseudo-terminal was closed: reading from it would return at once, for ever
            leave(128 + signal.SIGHUP)
            return
        await asyncio.sleep(_WATCH_S)
