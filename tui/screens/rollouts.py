"""The rollouts of one run: the groups of a step, the completions of a group, one completion in full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from textual import work
from textual.widget import Widget

from recipes.errors import BurnishError
from trainer.runs.folder import RunFolder
from trainer.runs.registry import summary
from trainer.runs.rollouts import SORTS, Group, Hit, RolloutReader, Sort, ordered
from trainer.text import one_line
from tui import actions, glyphs, present_rollouts
from tui.screens.base import BurnishScreen, bindings_of, title_line
from tui.screens.modals import Ask
from tui.widgets.lines import Line, Lines, Picker
from tui.widgets.page import Page

_AT_FIRST, _AT_ONCE = 8, 256  # steps that are searched before it is said how far it is


class _Completions(Picker):
    BINDINGS = [("escape", "screen.out")]


class _Text(Page):
    BINDINGS = [("escape", "screen.out")]


class _Marked(NamedTuple):
    at: Hit
    completion: str


class RolloutsScreen(BurnishScreen):
    """Follows the newest step while the run is live, until the person goes into a group or to another step."""

    NAME = "rollouts"
    BINDINGS = bindings_of("rollouts")

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self._run = run
        self._name = one_line(str(run.record().get("name")))
        self._reader = RolloutReader(run)
        self._steps: list[int] = []
        self._step: int | None = None  # the one that is shown
        self._groups: tuple[Group, ...] = ()
        self._wanted: int | None = None  # None is the newest, whichever it is
        self._aim: Hit | None = None  # what to choose once its step is read
        self._live = False
        self._reading = False
        self._trouble = ""
        self._sort: Sort = "position"
        self._marked: _Marked | None = None
        self._diff = False
        self._text = ""  # what is searched for
        self._hits: list[Hit] = []
        self._hit = -1
        self._unsearched: list[int] = []  # newest last
        self._at: int | None = None  # the group whose completions are shown
        self._page: object = None  # what the text is made of

    def body(self) -> Sequence[Widget]:
        return (
            Lines(id="groups-head", rows=1),
            Picker(id="groups"),
            Lines(id="completions-head", rows=1),
            _Completions(id="completions"),
            Lines(id="text-head", rows=1),
            _Text(id="text"),
        )

    def on_mount(self) -> None:
        self.query_one("#groups").focus()

    def heading(self) -> tuple[str, str]:
        if self._step is None:
            return f"Rollouts of {self._name}", "reading" if self._reading else ""
        follows = ", followed" if self._live and self._wanted is None else ""
        where = f"{self._steps.index(self._step) + 1} of {len(self._steps)}" if self._step in self._steps else ""
        return f"Rollouts of {self._name} · step {self._step}", f"logged step {where}{follows}"

    def reason(self, action: str) -> str:
        if action not in _MINE:
            return ""
        if self._step is None or not self._steps:
            return "there are no rollouts yet"
        if action in _OF_COMPLETION and not self._groups:
            return "the step has no completions"
        if action == "previous" and self._place() <= self._steps[0]:
            return "this is the first step that was logged"
        if action == "next" and self._place() >= self._steps[-1]:
            return "this is the newest step"
        if action == "diff" and not self._diff:
            if self._marked is None:
                return "mark a completion with Space first"
            return "this one is marked: go to another" if self._marked.at == self._here() else ""
        return "nothing was searched for" if action in ("find_next", "find_previous") and not self._text else ""

    def tick(self) -> None:
        if not self._reading:
            self._reading = True  # one thread at a time reads groups
            self.run_worker(self._look(), group="look")

    async def _look(self) -> None:
        try:
            while True:
                wanted = self._wanted
                await self._load(wanted)
                if wanted == self._wanted:  # else the person went on while it was read
                    break
        finally:
            self._reading = False
        self._draw()

    async def _load(self, wanted: int | None) -> None:
        torn = set(self._reader.torn)
        try:
            self._live = (await asyncio.to_thread(summary, self._run)).live
            self._steps = await asyncio.to_thread(self._reader.steps)
            if wanted is None:
                self._step, self._groups = await asyncio.to_thread(self._reader.newest)
            else:
                self._groups = await asyncio.to_thread(self._reader.groups, wanted)
                self._step = wanted
            self._trouble = ""
        except BurnishError as error:
            self._trouble = error.message
            if self.is_mounted and self._steps:
                self.say(error.message, "warn")
            return
        if self.is_mounted and (new := self._reader.torn - torn):
            self.say(f"step {max(new)} cannot be read now: it is being written, or torn", "warn")

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        width, groups = self.size.width, self.query_one("#groups", Picker)
        lines = [present_rollouts.group_line(group, width) for group in self._groups]
        groups.show(lines or [[(f" {self._trouble or 'the step has no completions'}", "dim")]])
        if self._aim is not None and self._aim.step == self._step:
            self._choose(self._aim)
        self._draw_group()
        left, right = self.heading()
        self.query_one("#title", Lines).show([title_line(left, right, width)])

    def _choose(self, aim: Hit) -> None:
        """Choose a completion of the step that is shown."""
        self._aim = None
        self.query_one("#groups", Picker).choose(aim.group)
        self._draw_group()
        group = self._group()
        if group and aim.rollout < len(group.rollouts):  # the step may have been written anew
            self._completions().choose(ordered(group, self._sort).index(aim.rollout))

    def _draw_group(self) -> None:
        """The completions of the chosen group, and the rules over all three parts."""
        width, style, group = self.size.width, self.station.glyphs, self._group()
        rollouts = group.rollouts if group else ()
        names = list(rollouts[0].rewards) if rollouts else []
        flat = sum(group.flat for group in self._groups)
        told = f"{len(self._groups)} groups, {flat} without variance: number, mean, what was asked"
        self._head("groups", glyphs.rule(told, width, style))
        self._head("completions", present_rollouts.rollout_head(names, width))
        self._share(len(rollouts))
        self._completions().show(self._rollout_lines(group) if group else [])
        at = group.index if group else None
        if at != self._at:
            self._at = at
            self._completions().choose(0)
        self._draw_text()

    def _head(self, part: str, text: str) -> None:
        """The line over a part; the part that has the keys is marked."""
        focused = self.query_one(f"#{part}").has_focus
        line: Line = [(f">{text[1:]}", "bold")] if focused else [(text, "dim")]
        self.query_one(f"#{part}-head", Lines).show([line])

    def _share(self, rollouts: int) -> None:
        """The part that has the keys gets more of the height, none more than it has lines, the text what is left."""
        room = self.size.height - 6  # title, three heads, message, keys
        for part, lines in (("groups", len(self._groups)), ("completions", rollouts)):
            widget = self.query_one(f"#{part}")
            widget.styles.height = max(min(lines, room // 2 if widget.has_focus else room // 4), 1)

    def _rollout_lines(self, group: Group) -> list[Line]:
        marked = self._marked.at if self._marked else None
        return [
            present_rollouts.rollout_line(
                index, group.rollouts[index], self.size.width, marked=marked == (group.step, group.index, index)
            )
            for index in ordered(group, self._sort)
        ]

    def _draw_text(self) -> None:
        """The chosen completion in full, made in a thread: one of a megabyte takes a while."""
        group, here = self._group(), self._here()
        if group is None or here is None:
            self.query_one("#text-head", Lines).show([])
            self.query_one("#text", _Text).show([])
            self._page = None
            return
        marked = self._marked if self._diff and self._marked and self._marked.at != here else None
        title = f"Completion {here.rollout + 1} of group {group.index + 1}, by {self._sort}"
        if marked:
            at = marked.at
            title = f"Completion {here.rollout + 1} against {at.rollout + 1} of group {at.group + 1} of step {at.step}"
        self._head("text", glyphs.rule(title, self.size.width, self.station.glyphs))
        wanted = (group, here, self.size.width, self._text, marked)
        if wanted != self._page:
            self._page = wanted
            self._fill(*wanted)

    @work(exclusive=True, group="page")
    async def _fill(self, group: Group, here: Hit, width: int, text: str, marked: _Marked | None) -> None:
        against, rollout = marked.completion if marked else None, group.rollouts[here.rollout]
        lines = await asyncio.to_thread(present_rollouts.page, group, rollout, width, text, against)
        self.query_one("#text", _Text).show(lines, present_rollouts.first_found(lines))

    def _completions(self) -> _Completions:
        return self.query_one("#completions", _Completions)

    def _group(self) -> Group | None:
        return self._groups[self.query_one("#groups", Picker).chosen] if self._groups else None

    def _here(self) -> Hit | None:
        """Where the chosen completion is."""
        group = self._group()
        if group is None or not group.rollouts:
            return None
        order = ordered(group, self._sort)
        return Hit(group.step, group.index, order[min(self._completions().chosen, len(order) - 1)])

    def on_descendant_focus(self) -> None:
        self._draw_group()

    def on_picker_moved(self, event: Picker.Moved) -> None:
        if event.picker.id == "groups":
            self._draw_group()
        else:
            self._draw_text()

    def _place(self) -> int:
        """The step that previous and next start from: one that is torn is shown when it is whole, and can be passed."""
        return self._wanted if self._wanted is not None else self._step or 0

    def _go(self, step: int | None) -> None:
        self._wanted = step
        self.tick()

    def action_into(self) -> None:
        if self.focused is self.query_one("#groups"):
            if self._live and self._wanted is None:
                self.say("stays at this step while you read: f follows the newest again")
            self._wanted = self._step
            self._completions().focus()
        else:
            self.query_one("#text").focus()
        self._tick()

    def action_out(self) -> None:
        self.query_one("#completions" if self.focused is self.query_one("#text") else "#groups").focus()

    def action_previous(self) -> None:
        self._go(max(step for step in self._steps if step < self._place()))

    def action_next(self) -> None:
        self._go(min(step for step in self._steps if step > self._place()))

    def action_go_to(self) -> None:
        def take(text: str | None) -> None:
            step = int(text) if text and text.strip().isdecimal() else None
            if step in self._steps:
                self._go(step)
            elif text:
                self.say(f"{one_line(text, 40)} is no logged step", "warn")

        self.app.push_screen(Ask("Go to step", "", f"{self._steps[0]} to {self._steps[-1]}"), take)

    def action_follow(self) -> None:
        follows = self._wanted is not None
        self.say("follows the newest step" if follows else "stays at this step")
        self._go(None if follows else self._step)

    def action_sort(self) -> None:
        here = self._here()
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._draw_group()
        if here is not None:
            self._choose(here)
        self.say(f"sorted by {self._sort}")

    def action_mark(self) -> None:
        group, here = self._group(), self._here()
        if group and here:
            unmark = self._marked is not None and self._marked.at == here
            self._marked = None if unmark else _Marked(here, group.rollouts[here.rollout].completion)
            self._diff = self._diff and not unmark
            self._draw_group()
            self._tick()

    def action_diff(self) -> None:
        self._diff = not self._diff
        self._draw_text()
        self._tick()

    def action_copy(self) -> None:
        group, here = self._group(), self._here()
        if group and here:
            text = group.rollouts[here.rollout].completion
            self.app.copy_to_clipboard(text)
            self.say(f"copied {len(text)} characters")

    def action_search(self) -> None:
        def take(text: str | None) -> None:
            if text is None:
                return
            self._text, self._hits, self._hit = text.strip(), [], -1
            self._unsearched = list(self._steps)
            self._draw_text()
            if self._text:
                self.action_find_next()

        self.app.push_screen(
            Ask("Find", self._text, "in prompts, completions and reasons, the newest step first"), take
        )

    def action_find_next(self) -> None:
        self._find_next()

    def action_find_previous(self) -> None:
        if self._hit <= 0:
            self.say("this is the first that was found")
            return
        self._show_hit(self._hit - 1)

    @work(exclusive=True, group="find")
    async def _find_next(self) -> None:
        many = _AT_FIRST
        while self._hit + 1 >= len(self._hits) and self._unsearched:
            some = self._unsearched[-many:]
            self.say(f"searching step {some[-1]} and before")
            self._hits += await asyncio.to_thread(list, self._reader.search(self._text, some))
            del self._unsearched[-len(some) :]
            many = min(2 * many, _AT_ONCE)
        if self._hit + 1 < len(self._hits):
            self._show_hit(self._hit + 1)
            return
        passed = f"; {len(self._reader.torn)} steps could not be read" if self._reader.torn else ""
        self.say(f"{'no more' if self._hits else 'nothing'} found{passed}", "warn")

    def _show_hit(self, hit: int) -> None:
        self._hit = hit
        more = "+" if self._unsearched else ""
        self.say(f"found {hit + 1} of {len(self._hits)}{more}")
        self._aim = self._hits[hit]
        self._go(self._aim.step)


_MINE = {action.id for action in actions.ACTIONS if action.screen == RolloutsScreen.NAME} - {"out"}
_OF_COMPLETION = ("into", "sort", "mark", "diff", "copy")
