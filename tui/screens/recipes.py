"""Recipes: the library, and one recipe with the meaning and origin of every value, changed in place and launched."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from textual.widget import Widget

from recipes.errors import BurnishError, RecipeError
from recipes.explain import Setting, as_yaml, settings
from recipes.loading import Loaded, from_text, library, override
from trainer.rewards.testable import why_not
from trainer.runs import warm
from tui import glyphs
from tui.screens.base import BurnishScreen, bindings_of
from tui.screens.modals import Ask, wrapped
from tui.widgets.lines import Line, Lines, Picker, fitted


class RecipesScreen(BurnishScreen):
    """The library, each recipe with what it is for."""

    NAME = "recipes"
    BINDINGS = bindings_of("recipes")

    def body(self) -> Sequence[Widget]:
        return (Picker(id="library"), Lines(id="about", rows=6))

    def __init__(self) -> None:
        super().__init__()
        self._library = library()

    def on_mount(self) -> None:
        self.query_one(Picker).focus()

    def heading(self) -> tuple[str, str]:
        return "Recipes", f"{len(self._library)} in the library"

    def tick(self) -> None:
        width = self.size.width
        lines: list[Line] = []
        for loaded in self._library:
            recipe = loaded.recipe
            name = fitted(recipe.name, 18)
            lines.append([(f" {name} ", "bold"), (fitted(recipe.summary, max(width - 21, 0)), "")])
        self.query_one(Picker).show(lines)
        self._about()

    def on_picker_moved(self) -> None:
        self._about()

    def _about(self) -> None:
        chosen = self._library[self.query_one(Picker).chosen].recipe
        title = glyphs.rule(f"{chosen.name} · base {chosen.model.base}", self.size.width, self.station.glyphs)
        notes = [[(" ", ""), *line] for line in wrapped(chosen.notes, self.size.width - 2)]
        self.query_one("#about", Lines).show([[(title, "dim")], *notes])

    def action_open_recipe(self) -> None:
        self.app.push_screen(RecipeScreen(self._library[self.query_one(Picker).chosen]))

    def reason(self, action: str) -> str:
        return why_not(self._library[self.query_one(Picker).chosen].recipe) if action == "test_rewards" else ""

    def action_test_rewards(self) -> None:
        _test_rewards(self, self._library[self.query_one(Picker).chosen])


class RecipeScreen(BurnishScreen):
    """One recipe. Enter launches it as it stands; while it is read, a trainer warms up."""

    NAME = "recipe"
    BINDINGS = bindings_of("recipe")

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self._loaded = loaded
        self._before: list[Loaded] = []
        self._launching = False

    def body(self) -> Sequence[Widget]:
        return (Picker(id="settings"), Lines(id="meaning", rows=4))

    def on_mount(self) -> None:
        self.query_one(Picker).focus()
        self.run_worker(asyncio.to_thread(warm.ensure), exit_on_error=False)

    def heading(self) -> tuple[str, str]:
        changed = len(self._before)
        return f"Recipe {self._loaded.recipe.name}", f"{changed} changed" if changed else self._loaded.source

    def reason(self, action: str) -> str:
        if action == "reset" and not self._before:
            return "nothing was changed"
        if action == "launch" and self._launching:
            return "it is being launched"
        return why_not(self._loaded.recipe) if action == "test_rewards" else ""

    def tick(self) -> None:
        width = self.size.width
        lines: list[Line] = []
        for setting in self._settings():
            mark = " " if setting.origin == "default" else "*" if setting.origin.startswith("library") else ">"
            style = "accent" if setting.origin == "edited" else "" if setting.changed else "dim"
            origin = "" if setting.origin == "default" else setting.origin
            # The value goes first, a path can be long; the lines below tell the whole origin.
            origin = fitted(origin, min(len(origin), width // 6))
            key = fitted(setting.key, 41)
            value = fitted(setting.text, max(width - 44 - len(origin), 6))
            lines.append([(f" {mark}{key} ", style), (value, "bold" if setting.changed else style), (origin, "dim")])
        self.query_one(Picker).show(lines)
        self._explain()

    def on_picker_moved(self) -> None:
        self._explain()

    def _settings(self) -> list[Setting]:
        return settings(self._loaded)

    def _chosen(self) -> Setting:
        return self._settings()[self.query_one(Picker).chosen]

    def _explain(self) -> None:
        setting = self._chosen()
        width, style = self.size.width, self.station.glyphs
        text = setting.meaning + (f" ({' | '.join(setting.choices)})" if setting.choices else "")
        lines: list[Line] = [[(glyphs.rule(f"{setting.key} = {setting.text}", width, style), "dim")]]
        lines += [[(" ", ""), *line] for line in wrapped(text, width - 2)]
        lines.append([(f" from {setting.origin}; as a command: --set {setting.key}={setting.text}", "dim")])
        self.query_one("#meaning", Lines).show(lines[:4])

    def _become(self, loaded: Loaded) -> None:
        self._before.append(self._loaded)
        self._loaded = loaded
        self._tick()

    def action_change(self) -> None:
        setting = self._chosen()
        if setting.choices:  # a closed set: the next one is one key away
            after = setting.choices[(setting.choices.index(setting.text) + 1) % len(setting.choices)]
            self._take(f"{setting.key}={after}")
            return

        def take(text: str | None) -> None:
            if text is not None and text != setting.text:
                self._take(f"{setting.key}={text}")

        self.app.push_screen(Ask(setting.key, setting.text, setting.meaning), take)

    def _take(self, text: str) -> None:
        try:
            self._become(override(self._loaded, [text], "edited"))
        except RecipeError as error:
            self.say_error(error)

    def action_test_rewards(self) -> None:
        _test_rewards(self, self._loaded)

    def action_reset(self) -> None:
        self._loaded = self._before.pop()
        self._tick()

    def action_editor(self) -> None:
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        with tempfile.NamedTemporaryFile("w+", suffix=".yaml", prefix="burnish-") as file:
            file.write(as_yaml(self._loaded))
            file.flush()
            try:
                with self.app.suspend():
                    subprocess.run([*editor, file.name], check=True)
                text = Path(file.name).read_text()
                if text != as_yaml(self._loaded):
                    edited = from_text(text, self._loaded.source, "edited")
                    changed = [s.key for s in settings(edited) if s.value != getattr_path(self._loaded, s.key)]
                    origins = {key: self._loaded.origin(key) for key in edited.origins}
                    kept = {key: origin for key, origin in origins.items() if origin != "default"}
                    self._become(
                        Loaded(edited.recipe, {**kept, **dict.fromkeys(changed, "edited")}, self._loaded.source)
                    )
            except RecipeError as error:
                self.say_error(error)
            except (OSError, subprocess.CalledProcessError) as error:
                self.say(f"{editor[0]} did not end well: {error}; set EDITOR", "trouble")

    def action_write(self) -> None:
        def take(name: str | None) -> None:
            if not name:
                return
            path = Path(name).expanduser()
            try:
                with path.open("x") as out:
                    out.write(as_yaml(self._loaded))
                self.say(f"wrote {path}: `burnish run {path}` launches it")
            except OSError as error:
                self.say(f"not written: {error}", "trouble")

        self.app.push_screen(Ask("Write the recipe to", f"{self._loaded.recipe.name}.yaml", "a new file"), take)

    async def action_launch(self) -> None:
        from trainer.planning.start import start

        self._launching = True
        self.say("checking and launching")
        overrides = [f"--set={s.key}={s.text}" for s in self._settings() if s.origin == "edited"]
        command = ["burnish", "run", self._loaded.source, *overrides]
        try:
            run = await asyncio.to_thread(start, self._loaded, command=command)
            self.app.pop_screen()
            self.station.open_run(str(run.path))
        except BurnishError as error:
            self.say_error(error)
        finally:
            self._launching = False


def _test_rewards(screen: BurnishScreen, loaded: Loaded) -> None:
    from tui.screens.rewards import RewardsScreen

    screen.app.push_screen(RewardsScreen(loaded))


def getattr_path(loaded: Loaded, key: str) -> object:
    """The value of a dotted key."""
    value: object = loaded.recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value
