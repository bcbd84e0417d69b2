"""What every screen has: a title line, a message line, a line of keys that says which can act, and the reason if not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from recipes.errors import BurnishError
from tui import actions
from tui.widgets.lines import Line, Lines, fitted, width_of

if TYPE_CHECKING:
    from tui.app import Workstation


def bindings_of(screen: str) -> list[BindingType]:
    """Textual's bindings of one screen's actions; the action's name is its id, for the user's keymap."""
    return [
        Binding(",".join(action.keys), action.id, action.title, id=action.id, show=action.footer)
        for action in actions.ACTIONS
        if action.screen == screen
    ]


class BurnishScreen(Screen[None]):
    """A screen of the workstation. Subclasses give `NAME`, `body`, and `reason` for actions that cannot act now."""

    NAME: ClassVar[str] = ""
    TICK_S: ClassVar[float] = 1.0
    DEFAULT_CSS = """
    BurnishScreen { layout: vertical; }
    BurnishScreen #title, BurnishScreen #message, BurnishScreen #keys { height: 1; }
    """

    _said_at = 0.0

    def compose(self) -> ComposeResult:
        yield Lines(id="title", rows=1)
        yield from self.body()
        yield Lines(id="message", rows=1)
        yield Lines(id="keys", rows=1)

    def body(self) -> Sequence[Widget]:
        """The widgets between title and message."""
        return ()

    def tick(self) -> None:
        """Called once a second while the screen is shown, and at once when it is."""

    def heading(self) -> tuple[str, str]:
        """(left, right) of the title line."""
        return (self.NAME.capitalize(), "")

    def reason(self, action: str) -> str:
        """Why an action cannot act now; empty where it can."""
        return ""

    @property
    def station(self) -> Workstation:
        return cast("Workstation", self.app)

    def on_mount(self) -> None:
        # Textual calls this of every class of a screen: a subclass that called it too would tick twice.
        self.set_interval(self.TICK_S, self._tick)
        self._tick()  # before the first layout: the first frame has content

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self._tick)

    def on_resize(self) -> None:
        self.call_after_refresh(self._tick)

    def say(self, text: str, style: str = "") -> None:
        """Show a sentence above the keys for some seconds."""
        self._said_at = time.monotonic()
        self.query_one("#message", Lines).show([[(f" {text}", style)]])

    def say_error(self, error: BurnishError) -> None:
        """Show an error and what to do about it."""
        from tui.screens.modals import Notice

        self.app.push_screen(Notice(error.title, error.message, error.hint))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if self.is_mounted and self.reason(action) else True

    def explain(self, key: str) -> bool:
        """Say why a key cannot act now; False where it can, or means nothing here."""
        for action in actions.ACTIONS:
            mine = action.screen == self.NAME and key in self.station.keys_of(action)
            if mine and (why := self.reason(action.id)):
                self.say(f"{action.title}: {why}", "warn")
                return True
        return False

    def _tick(self) -> None:
        # `is_current` is true of a screen below this one as well, and painting that one paints everything over it again.
        if self.app.screen is not self:
            return
        self.tick()
        if time.monotonic() - self._said_at > 8:
            self.query_one("#message", Lines).show([])
        left, right = self.heading()
        self.query_one("#title", Lines).show([title_line(left, right, self.size.width)])
        self.query_one("#keys", Lines).show([self._keys()])
        self.refresh_bindings()

    def _keys(self) -> Line:
        """The keys that fit; where some do not, the last one shown leads to them all."""
        pieces: list[Line] = []
        for action in actions.on(self.NAME):
            if action.footer:
                can = not self.reason(action.id)
                key = self.station.key_of(action)
                pieces.append([(key, "accent" if can else "dim"), (f" {action.title}  ", "" if can else "dim")])
        room = self.size.width - 1
        if sum(map(width_of, pieces)) > room:
            more: Line = [(self.station.key_of(actions.HELP), "accent"), (" more", "")]
            while pieces and sum(map(width_of, pieces)) + width_of(more) > room:
                pieces.pop()
            pieces.append(more)
        return [(" ", ""), *(span for piece in pieces for span in piece)]


def title_line(left: str, right: str, width: int) -> Line:
    """The title across the screen: the name, what is shown, and on the right what goes on."""
    head = " burnish "
    room = max(width - len(head) - len(right) - 2, 0)
    return [(head, "accent"), (fitted(left, room), "bold"), (f" {right} ", "dim")]
