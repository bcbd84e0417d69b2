"""Where burnish keeps what it makes. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path


def burnish_home() -> Path:
    """$BURNISH_HOME, else the XDG state folder of burnish; not created here."""
    if given := os.environ.get("BURNISH_HOME"):
        return Path(given).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "burnish"
