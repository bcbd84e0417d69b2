"""Small windows over a screen: a question, a notice, a line of input, the help page, the palette."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui import actions
from tui.widgets.lines import Line, Lines, Picker, fitted

_CSS = """
{name} {{ align: center middle; }}
{name} > Vertical {{ width: 90%; max-width: 100; height: auto; max-height: 90%; border: round ansi_bright_black;
    background: ansi_default; padding: 0 1; }}
{name} Input {{ border: none; height: 1; padding: 0; }}
"""


def wrapped(text: str, width: int) -> list[Line]:
    """Text as lines of at most `width` cells."""
    import textwrap

    return [[(line, "")] for part in text.splitlines() for line in textwrap.wrap(part, width) or [""]]


class Confirm(ModalScreen[bool]):
    """A question about something hard to reverse: y does it, anything else does not."""

    DEFAULT_CSS = _CSS.format(name="Confirm")
    BINDINGS = [("y", "answer(True)"), ("n,escape,enter,q", "answer(False)")]

    def __init__(self, question: str, consequence: str) -> None:
        super().__init__()
        self._texts = (question, consequence)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Lines(id="text")

    def on_mount(self) -> None:
        question, consequence = self._texts
        width = min(self.app.size.width * 9 // 10, 100) - 4
        self.query_one(Lines).show(
            [
                [(fitted(question, width), "bold")],
                *wrapped(consequence, width),
                [],
                [("y", "accent"), (" yes    ", ""), ("Enter, Esc", "accent"), (" cancel", "bold")],
            ]
        )

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Notice(ModalScreen[None]):
    """Something that went wrong: what, where, what to do."""

    DEFAULT_CSS = _CSS.format(name="Notice")
    BINDINGS = [("escape,enter,q,space", "leave")]

    def __init__(self, title: str, message: str, hint: str = "") -> None:
        super().__init__()
        self._texts = (title, message, hint)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Lines(id="text")

    def on_mount(self) -> None:
        title, message, hint = self._texts
        width = min(self.app.size.width * 9 // 10, 100) - 4
        parts: list[Line] = [[(title, "trouble")], *wrapped(message, width)]
        if hint:
            parts += [[], *wrapped(hint, width)]
        self.query_one(Lines).show([*parts, [], [("Enter", "accent"), (" back", "")]])

    def action_leave(self) -> None:
        self.dismiss(None)


class Ask(ModalScreen[str | None]):
    """One line of input. Enter gives it, Esc gives None; below it, what the value means."""

    DEFAULT_CSS = _CSS.format(name="Ask")
    BINDINGS = [("escape", "leave")]

    def __init__(self, question: str, value: str, meaning: str = "") -> None:
        super().__init__()
        self._question, self._value, self._meaning = question, value, meaning

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Lines(id="question", rows=1)
            yield Input(self._value)
            yield Lines(id="meaning")

    def on_mount(self) -> None:
        width = min(self.app.size.width * 9 // 10, 100) - 4
        self.query_one("#question", Lines).show([[(self._question, "bold")]])
        keys: Line = [("Enter", "accent"), (" takes it   ", ""), ("Esc", "accent"), (" leaves it as it was", "")]
        self.query_one("#meaning", Lines).show([*wrapped(self._meaning, width), keys])
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)


class Help(ModalScreen[None]):
    """Every key of the screen below and of the whole, with the command that does the same."""

    DEFAULT_CSS = _CSS.format(name="Help") + "Help Picker { height: 1fr; } Help > Vertical { height: 90%; }"
    BINDINGS = [("escape,q,question_mark,enter", "leave")]

    def __init__(self, screen: str) -> None:
        super().__init__()
        self._screen = screen

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Lines(id="head", rows=1)
            yield Picker(id="rows")

    def on_mount(self) -> None:
        self.query_one("#head", Lines).show([[("Keys", "bold"), ("   Esc goes back; keys.toml changes them", "dim")]])
        wide = self.app.size.width >= 110
        rows: list[Line] = []
        for action in actions.on(self._screen):
            keys = " ".join(actions.key_name(key) for key in action.keys)
            line: Line = [(f"{keys:<10}", "accent"), (f"{action.help:<48} ", "")]
            rows.append([*line, (action.twin, "dim")] if wide else line)
            if action.twin and not wide:
                rows.append([(f"{'':10}{action.twin}", "dim")])
        rows += [
            [("j k g G   ", "accent"), ("move in lists; arrows, PgUp and PgDn too", "")],
            [("ctrl+q    ", "accent"), ("leave burnish from anywhere; runs go on", "")],
        ]
        self.query_one(Picker).show(rows)
        self.query_one(Picker).focus()

    def action_leave(self) -> None:
        self.dismiss(None)


class Palette(ModalScreen[str | None]):
    """Any action by a part of its name; gives the action's id."""

    DEFAULT_CSS = _CSS.format(name="Palette") + "Palette Picker { height: 12; }"
    BINDINGS = [("escape", "leave"), ("down,ctrl+n", "move(1)"), ("up", "move(-1)")]

    def __init__(self, screen: str) -> None:
        super().__init__()
        self._screen = screen
        self._found: list[actions.Action] = []

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Input(placeholder="what to do")
            yield Picker(id="found")

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._show("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._show(event.value)

    def on_input_submitted(self) -> None:
        self.dismiss(self._found[self.query_one(Picker).chosen].id if self._found else None)

    def action_move(self, by: int) -> None:
        self.query_one(Picker).action_move(by)

    def action_leave(self) -> None:
        self.dismiss(None)

    def _show(self, text: str) -> None:
        words = text.lower().split()
        self._found = [
            action
            for action in actions.on(self._screen)
            if action.id != "palette" and all(word in f"{action.title} {action.help}".lower() for word in words)
        ]
        self.query_one(Picker).show(
            [[(f"{action.title:<12}", "bold"), (f"{action.help:<50}", ""), (actions.key_name(action.keys[0]), "accent")]
             for action in self._found]
        )  # fmt: skip
