"""The workstation: which screen is shown, and the two facts that all screens share, the box and the runs."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App
from textual.binding import Binding
from textual.events import Key
from textual.screen import Screen

from recipes.errors import BurnishError
from tui import actions, glyphs, terminal
from tui.screens.base import BurnishScreen, bindings_of
from tui.screens.home import HomeScreen

if TYPE_CHECKING:
    from trainer.devices.model import Snapshot
    from trainer.devices.sampler import Sampler
    from trainer.runs.model import RunSummary

_LOOK_S = 1.0
_FIRST_FRAME_S = 0.05  # reading the box imports much: the first frame goes first


def _recipes() -> Screen[None]:
    from tui.screens.recipes import RecipesScreen

    return RecipesScreen()


def _runs() -> Screen[None]:
    from tui.screens.runs import RunsScreen

    return RunsScreen()


def _demo() -> Screen[None]:
    from tui.screens.demo import DemoScreen

    return DemoScreen()


class Workstation(App[int]):
    """The Textual app. Screens read `snapshot` and `runs`; one thread keeps each of them fresh."""

    TITLE = "burnish"
    DEFAULT_MODE = "home"  # begun in, not switched to: one layout less before the first frame
    ENABLE_COMMAND_PALETTE = False
    MODES = {
        "home": HomeScreen,
        "recipes": _recipes,
        "runs": _runs,
        "demo": _demo,
    }
    BINDINGS = [*bindings_of("app"), Binding("ctrl+q", "leave", show=False, priority=True)]
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    Workstation.-ascii ModalScreen > Vertical { border: ascii ansi_bright_black; }
    """

    def __init__(
        self, devices: str = "nvml", *, ascii_only: bool = False, mode: str = "home", opened: str = ""
    ) -> None:
        super().__init__()
        self.snapshot: Snapshot | None = None
        self.runs: list[RunSummary] = []
        self.glyphs: glyphs.Style = glyphs.pick(ascii_only)
        self.set_class(self.glyphs == "ascii", "-ascii")
        self._devices = devices
        self._first = (mode, opened)
        self._sampler: Sampler | None = None
        self._keymap_of_user = actions.keymap()

    async def on_mount(self) -> None:
        self.set_keymap(self._keymap_of_user)
        mode, opened = self._first
        if mode != self.current_mode:
            await self.switch_mode(mode)
        if opened:
            self._open(Path(opened))
        self.run_worker(terminal.leave_when_gone(self._leave_with), name="terminal")
        self.set_timer(_FIRST_FRAME_S, lambda: self.run_worker(self._look(), name="look"))

    def on_key(self, event: Key) -> None:
        """A key that cannot act says why. Asked here, where the keys before it have done what they do: a slow link brings
        several at once."""
        if isinstance(self.screen, BurnishScreen) and self.screen.explain(event.key):
            event.prevent_default()

    async def _look(self) -> None:
        """Read the box and the runs in threads, for as long as the app lives."""
        from trainer.runs.registry import summaries

        gc.enable()  # `tui.main` leaves it off until there is a first frame
        self._sampler = await asyncio.to_thread(self._start_sampler)
        while True:
            self.runs = await asyncio.to_thread(summaries)
            fresh = self.snapshot is None
            self.snapshot = self._sampler.latest
            if fresh and isinstance(self.screen, BurnishScreen):
                self.screen._tick()
            await asyncio.sleep(_LOOK_S if self.snapshot else 0.05)

    def _start_sampler(self) -> Sampler:
        from trainer.devices.backend import open_backend
        from trainer.devices.sampler import Sampler

        sampler = Sampler(open_backend(self._devices), _LOOK_S)
        sampler.start()
        return sampler

    def key_of(self, action: actions.Action) -> str:
        """The first key that runs an action, as people write it."""
        return actions.key_name(self.keys_of(action)[0])

    def keys_of(self, action: actions.Action) -> tuple[str, ...]:
        """The keys that run an action: the user's where there are any."""
        mine = self._keymap_of_user.get(action.id)
        return tuple(mine.split(",")) if mine else action.keys

    def _open(self, path: Path) -> None:
        """Begin with a run folder or a recipe file."""
        try:
            if path.is_dir():
                self.open_run(str(path.absolute()))
                return
            from recipes.loading import load
            from tui.screens.recipes import RecipeScreen

            self.push_screen(RecipeScreen(load(str(path))))
        except BurnishError as error:
            self.exit(error.exit_code, return_code=error.exit_code, message=f"{error.title}: {error.message}")

    def open_run(self, run: str) -> None:
        """Show the monitor of a run."""
        from trainer.runs.registry import find
        from tui.screens.monitor import MonitorScreen

        self.push_screen(MonitorScreen(find(run)))

    def action_home(self) -> None:
        self._go("home")

    def action_recipes(self) -> None:
        self._go("recipes")

    def action_runs(self) -> None:
        self._go("runs")

    def _go(self, mode: str) -> None:
        """Into a mode as it was left, or to its first screen where it is the one shown. Awaiting here would lock up."""
        if mode != self.current_mode:
            self.switch_mode(mode)
            return
        for _ in self.screen_stack[1:]:
            self.pop_screen()

    def action_help(self) -> None:
        from tui.screens.modals import Help

        if isinstance(self.screen, BurnishScreen):
            self.push_screen(Help(self.screen.NAME))

    def action_palette(self) -> None:
        from tui.screens.modals import Palette

        screen = self.screen
        if not isinstance(screen, BurnishScreen):
            return

        async def act(action: str | None) -> None:
            if action is None:
                return
            why = screen.reason(action)
            if why:
                screen.say(why, "warn")
            elif hasattr(screen, f"action_{action}"):
                await screen.run_action(action)
            else:
                await self.run_action(action)

        def later(action: str | None) -> None:
            """An action may change the mode, and the palette has to leave the mode that it was opened in."""
            self.set_timer(0.05, lambda: act(action))

        self.push_screen(Palette(screen.NAME), later)

    async def action_back(self) -> None:  # async as Textual's own of that name
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self.current_mode != "home":
            self.switch_mode("home")
        else:
            self.action_leave()

    def action_leave(self) -> None:
        self._leave_with(0)

    def _leave_with(self, code: int) -> None:
        from trainer.runs import warm

        warm.dismiss()  # the choosing is over
        self.exit(code, return_code=code)

    def on_unmount(self) -> None:
        if self._sampler:
            self._sampler.stop()


def open_workstation(args: argparse.Namespace, *, demo: bool = False, opened: str = "") -> int:
    """Show the workstation until the person leaves; the exit code is 0, or 129 and 143 after a hang-up or SIGTERM.

    `opened`: a run folder or a recipe file to begin with.
    """
    app = Workstation(args.devices, ascii_only=args.ascii, mode="demo" if demo else "home", opened=opened)
    app.run(mouse=not args.no_mouse)
    code = app.return_code or 0
    if code >= 128:  # nobody is there to see us finish; threads that wait for the box must not hold us
        os._exit(code)
    return code
