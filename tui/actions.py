"""Every action of the workstation, once: footer, help, palette, keymap and the README's key table are made from here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from recipes.errors import InputError


@dataclass(frozen=True)
class Action:
    """One thing that a person can do. `screen` is where its key works; `twin` is the command that does the same."""

    id: str  # the action's name on its screen or on the app, and its id in the user's keymap
    keys: tuple[str, ...]
    title: str
    help: str
    screen: str = "app"
    twin: str = ""
    footer: bool = True


HELP = Action("help", ("question_mark", "f1"), "help", "this page")
ACTIONS: tuple[Action, ...] = (
    Action("home", ("1",), "Home", "the box, the runs, what to do next", twin="burnish gpus · burnish runs"),
    Action("recipes", ("3",), "Recipes", "what to train with: read, change, launch", twin="burnish recipes"),
    Action("runs", ("4",), "Runs", "every run, and the monitor of each", twin="burnish runs"),
    HELP,
    Action("palette", ("colon", "ctrl+p"), "commands", "find any action by its name"),
    Action("back", ("escape", "q"), "back", "one step back; on Home, leave (runs go on)", footer=False),
    # Home
    Action("open_run", ("enter",), "open", "open the monitor of the run", "home", "burnish watch RUN"),
    # Runs
    Action("open_run", ("enter",), "open", "open the monitor of the run", "runs", "burnish watch RUN"),
    Action("filter", ("slash",), "filter", "show only runs that hold a text", "runs"),
    # The monitor of a run
    Action("stop", ("x",), "stop", "finish the step, save and end", "monitor", "burnish stop RUN"),
    Action("stop_now", ("X",), "kill", "end at once, saving nothing", "monitor", "burnish stop RUN --now"),
    Action("save", ("s",), "save", "save a checkpoint after this step", "monitor", "burnish save RUN"),
    Action("evaluate", ("v",), "evaluate", "evaluate after this step", "monitor", "burnish evaluate RUN"),
    Action("verdicts", ("w",), "why", "every verdict on the numbers, its range, its source, what to do", "monitor"),
    Action("pause", ("p",), "pause", "wait after this step", "monitor", "burnish pause RUN"),
    Action("go_on", ("c",), "continue", "go on after a pause", "monitor", "burnish continue RUN"),
    Action("resume", ("r",), "resume", "go on from the newest checkpoint", "monitor", "burnish resume RUN"),
    Action("log", ("l",), "log", "the last lines that the trainer printed", "monitor", "burnish log RUN"),
    Action("metric", ("m",), "metric", "draw the next metric", "monitor"),
    Action(
        "rollouts", ("o",), "rollouts", "what the run generated, and its rewards", "monitor", "burnish rollouts RUN"
    ),
    Action("previous", ("left_square_bracket",), "previous", "the run before this one", "monitor", footer=False),
    Action("next", ("right_square_bracket",), "next", "the run after this one", "monitor", footer=False),
    Action("copy", ("y",), "copy id", "copy the run's id to the clipboard of your terminal", "monitor", footer=False),
    # The rollouts of a run
    Action("into", ("enter", "right", "l"), "in", "into the group, then into the text", "rollouts"),
    Action("out", ("left", "h"), "out", "out of the text, then out of the group", "rollouts", footer=False),
    Action("previous", ("left_square_bracket",), "earlier", "the logged step before", "rollouts"),
    Action("next", ("right_square_bracket",), "later", "the logged step after", "rollouts"),
    Action("follow", ("f",), "follow", "follow the newest step, or stay at this one", "rollouts"),
    Action("sort", ("s",), "sort", "by position, reward or advantage", "rollouts", "burnish rollouts --sort reward"),
    Action("mark", ("space",), "mark", "mark the completion that others are compared with", "rollouts"),
    Action("diff", ("d",), "diff", "what differs from the marked completion", "rollouts"),
    Action("search", ("slash",), "find", "find a text in all steps", "rollouts", "burnish rollouts --search TEXT"),
    Action("find_next", ("n",), "next", "the next that was found", "rollouts", footer=False),
    Action("find_previous", ("N",), "previous", "the one found before", "rollouts", footer=False),
    Action("go_to", ("t",), "to step", "go to a step by its number", "rollouts", "burnish rollouts --step N"),
    Action("copy", ("y",), "copy", "copy the completion to the clipboard of your terminal", "rollouts", footer=False),
    # Recipes
    Action(
        "open_recipe", ("enter",), "open", "read the recipe, change it, launch it", "recipes", "burnish recipes NAME"
    ),
    Action(
        "test_rewards", ("t",), "test rewards", "score right answers and tricks", "recipes", "burnish reward test NAME"
    ),
    Action("launch", ("enter",), "launch", "launch a run with the values as they stand", "recipe", "burnish run NAME"),
    Action(
        "change", ("space", "i"), "change", "change the value under the cursor", "recipe", "burnish run --set KEY=VALUE"
    ),
    Action(
        "test_rewards", ("t",), "test rewards", "score right answers and tricks", "recipe", "burnish reward test NAME"
    ),
    Action("editor", ("e",), "editor", "edit the whole recipe in $EDITOR", "recipe"),
    Action("reset", ("z",), "undo", "take the last change back", "recipe"),
    Action("write", ("w",), "write file", "write the recipe as a YAML file here", "recipe"),
    # The test of a recipe's rewards
    Action("behind", ("enter",), "completions", "the completions behind a row, with reasons", "rewards"),
    Action("draw", ("f",), "fresh", "draw fresh completions and score them", "rewards", "burnish reward test RECIPE"),
    # The demo
    Action("open_run", ("enter",), "open run", "open the monitor of the demo's run", "demo", "burnish watch demo"),
)


def on(screen: str) -> list[Action]:
    """The actions of one screen, then those that work everywhere."""
    return [action for action in ACTIONS if action.screen == screen] + [a for a in ACTIONS if a.screen == "app"]


def keymap_file() -> Path:
    """Where a person's own keys are: a TOML file with lines such as `stop = "ctrl+x"` under `[keys]`."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "burnish" / "keys.toml"


def keymap() -> dict[str, str]:
    """Action ids to the keys that a person gave them. Raises InputError for a file that is none or an unknown action."""
    file = keymap_file()
    if not file.exists():
        return {}
    import tomllib

    try:
        keys = tomllib.loads(file.read_text()).get("keys", {})
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}", 'lines such as stop = "ctrl+x" stand under [keys]') from error
    known = {action.id for action in ACTIONS}
    for name, value in keys.items():
        if name not in known or not isinstance(value, str):
            raise InputError(f"{file}: `{name}` is no action", f"the actions are {', '.join(sorted(known))}")
    return dict(keys)


def key_name(key: str) -> str:
    """A key as people write it."""
    names = {
        "question_mark": "?", "colon": ":", "slash": "/", "left_square_bracket": "[", "right_square_bracket": "]",
        "escape": "Esc", "enter": "Enter", "space": "Space",
    }  # fmt: skip
    return names.get(key, key)


def key_table() -> str:
    """The table of keys as Markdown, for the README."""
    rows = ["| where | key | does | the same as a command |", "|---|---|---|---|"]
    for action in ACTIONS:
        keys = " ".join(f"`{key_name(key)}`" for key in action.keys)
        where = "everywhere" if action.screen == "app" else action.screen
        rows.append(f"| {where} | {keys} | {action.help} | {f'`{action.twin}`' if action.twin else ''} |")
    return "\n".join(rows)
