"""One registry of actions: bound on its screen, told in help and palette, changed by the user's keymap."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.errors import InputError
from tui import actions


def test_no_key_means_two_things_on_one_screen() -> None:
    for screen in {action.screen for action in actions.ACTIONS}:
        keys = [key for action in actions.ACTIONS if action.screen in (screen, "app") for key in action.keys]
        assert len(keys) == len(set(keys)), screen


def test_every_action_is_done_by_its_screen() -> None:
    from tui.app import Workstation
    from tui.screens.demo import DemoScreen
    from tui.screens.home import HomeScreen
    from tui.screens.monitor import MonitorScreen
    from tui.screens.recipes import RecipeScreen, RecipesScreen
    from tui.screens.rewards import RewardsScreen
    from tui.screens.rollouts import RolloutsScreen
    from tui.screens.runs import RunsScreen

    doers = {
        "app": Workstation, "home": HomeScreen, "runs": RunsScreen, "monitor": MonitorScreen, "recipes": RecipesScreen,
        "recipe": RecipeScreen, "demo": DemoScreen, "rollouts": RolloutsScreen, "rewards": RewardsScreen,
    }  # fmt: skip
    for action in actions.ACTIONS:
        assert hasattr(doers[action.screen], f"action_{action.id}"), action
        assert action.title and action.help


def test_a_keymap_is_read_and_a_wrong_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert actions.keymap() == {}
    actions.keymap_file().parent.mkdir()
    actions.keymap_file().write_text('[keys]\nstop = "ctrl+x"\n')
    assert actions.keymap() == {"stop": "ctrl+x"}
    actions.keymap_file().write_text('[keys]\nhalt = "x"\n')
    with pytest.raises(InputError, match="`halt` is no action"):
        actions.keymap()
    actions.keymap_file().write_text("[keys\n")
    with pytest.raises(InputError):
        actions.keymap()
