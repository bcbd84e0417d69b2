"""The walls of the house, in fresh interpreters: who may load what."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "trl", "peft", "bitsandbytes")


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are loaded after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{m.split('.')[0] for m in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_workstation_loads_no_torch() -> None:
    code = "import tui.app, tui.screens.monitor, tui.screens.runs, tui.screens.recipes, tui.screens.demo, "
    code += "tui.screens.rollouts, tui.screens.rewards"
    assert not loaded_by(code) & set(HEAVY)


@pytest.mark.parametrize(
    "verb", ["control", "demo", "doctor", "gpus", "log", "recipes", "reward", "rollouts", "run", "runs", "watch"]
)
def test_commands_load_neither_textual_nor_torch(verb: str) -> None:
    assert not loaded_by(f"import tui.main, tui.commands.{verb}") & {"textual", *HEAVY}


def test_launching_loads_no_torch() -> None:
    assert not loaded_by("import trainer.planning.start, trainer.planning.preflight") & {"textual", *HEAVY}


def test_the_supervisor_is_standard_library_alone() -> None:
    own = {"trainer", "recipes"}
    extra = loaded_by("import trainer.runs.supervisor") - loaded_by("") - own
    assert not {name for name in extra if name not in sys.stdlib_module_names}


def test_recipes_know_nothing_of_the_engine() -> None:
    assert not loaded_by("import recipes.loading, recipes.explain") & {"trainer", "tui", "textual", *HEAVY}
    assert "tui" not in loaded_by("import trainer.runs.launch, trainer.planning.start, trainer.planning.doctor")
