"""A run that was stopped and resumed has the numbers of one that was not, for every method that has a second model."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.loading import Loaded
from tests.trainer.worker.helpers import Worked, new_run, on_tiny, work, work_here
from trainer.planning.places import made_whole
from trainer.runs import control

FOUR = (
    "training.max_steps=4",
    "evaluation.samples=0",
    "data.eval=none",
    "data.eval_fraction=0",
    "training.save_steps=1",
)
SHORT = ("rewards={short: {kind: length, soft: 5, hard: 60}}",)
CASES: dict[str, tuple[str, ...]] = {
    "dpo": ("model.base=run:sft", "training.learning_rate=1e-3"),
    "kto": ("model.base=run:sft", "training.learning_rate=1e-3"),
    "reward-model": (),
    "rft-json": ("model.base=run:sft", "grpo.num_generations=2", "grpo.beta=0.1", *SHORT),
    "rlhf": ("model.base=run:sft", "rloo.num_generations=2", *SHORT),
    "ppo": ("ppo.num_iterations=1", *SHORT),
}


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an SFT run that others go on from."""
    home = tmp_path_factory.mktemp("home")
    work(home, tiny_model, "sft-qlora", "model.tuning=lora", name="sft")
    return home


def broken(loaded: Loaded, home: Path) -> Worked:
    """Asked to stop before it begins, so after its first step; then resumed."""
    run = new_run(loaded.recipe, home)
    control.request(run, "stop", "test")
    stopped = work_here(run)
    assert stopped.verdict["kind"] == "stopped"
    assert run.latest_checkpoint() == run.checkpoints / "checkpoint-1"
    return work_here(run, attempt=2)


@pytest.mark.parametrize("recipe", list(CASES))
def test_resumed_equals_unbroken(recipe: str, place: Path, tiny_model: Path) -> None:
    loaded, _ = made_whole(on_tiny(tiny_model, recipe, "model.tuning=lora", *FOUR, *CASES[recipe]), place)
    whole = work_here(new_run(loaded.recipe, place))
    assert whole.code == 0, whole.verdict
    resumed = broken(loaded, place)
    assert resumed.code == 0, resumed.verdict

    def curve(worked: Worked) -> list[tuple[int, float, float]]:
        return [(step["step"], step["loss"], step["grad_norm"]) for step in worked.events("step")]

    assert [step for step, _, _ in curve(resumed)] == [1, 2, 3, 4]
    assert curve(resumed) == [pytest.approx(one, rel=1e-4, abs=1e-6) for one in curve(whole)]
    assert len({loss for _, loss, _ in curve(whole)}) == 4
