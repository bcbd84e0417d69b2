"""Every screen as an SVG, from the real app over a real run of the pocket model: `make screenshots`.

The run is recorded in a home of its own, made anew; the GPUs are those of the fake backend, and the pictures say so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
# picture: keys that lead to it from Home
SCREENS = {
    "home": (),
    "recipes": ("3",),
    "recipe": ("3", "enter"),
    "runs": ("4",),
    "monitor": ("4", "enter"),  # the demo's SFT run; its DPO and RFT runs stand under it
    "monitor-dpo": ("4", "j", "enter"),
    "monitor-rft": ("4", "j", "j", "enter"),
    "verdicts": ("4", "j", "j", "enter", "w"),
    "rollouts": ("4", "j", "j", "enter", "o", "enter"),
    "rewards": ("3", *"j" * 11, "t"),  # of rft-json
    "log": ("4", "enter", "l"),
    "help": ("question_mark",),
}


def record(home: Path) -> None:
    """The demo's runs, played for real; a pocket model that was built before is taken over."""
    from trainer.home import burnish_home
    from trainer.pocket.cache import folder, is_built
    from trainer.pocket.story import play

    if is_built():
        shutil.copytree(folder(), folder(home))
    assert burnish_home() != home
    os.environ["BURNISH_HOME"] = str(home)
    for beat in play(home):
        print(beat.text)


async def shoot(name: str, keys: tuple[str, ...], size: str) -> None:
    """One picture, taken when the screen has read what it shows."""
    from tui.app import Workstation

    app = Workstation("fake:none" if name == "home-without-gpu" else "fake:h200x2")
    async with app.run_test(size=SIZES[size]) as pilot:
        await pilot.pause(2.5)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(1.5)
        (FOLDER / f"{name}-{size}.svg").write_text(app.export_screenshot(title=f"burnish, {size}"))


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        record(Path(place) / "home")
        for size in SIZES:
            for name, keys in {**SCREENS, "home-without-gpu": ()}.items():
                asyncio.run(shoot(name, keys, size))
            print(f"took {len(SCREENS) + 1} pictures at {size}")


if __name__ == "__main__":
    from tui.terminal import DEFAULTS

    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    main()
