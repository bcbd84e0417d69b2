"""What tests share: a home of their own, a tiny model, and nothing left running."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainer.runs import warm
from trainer.runs.folder import RunFolder, read_json, runs_home
from trainer.runs.identity import Identity, send


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket model's shape, tokenizer and rows, untrained: made in seconds."""
    from trainer.pocket.cache import ensure_test_model

    return ensure_test_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """$BURNISH_HOME in a folder of the test; what still runs in it afterwards is killed."""
    place = tmp_path / "home"
    monkeypatch.setenv("BURNISH_HOME", str(place))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield place
    warm.dismiss(place)
    for folder in runs_home(place).glob("*"):
        for process in (read_json(folder / "proc.json") or {}).values():
            if isinstance(process, dict):
                send(Identity.from_dict(process), signal.SIGKILL)


Launch = Callable[..., RunFolder]


@pytest.fixture
def launch_tiny(home: Path, tiny_model: Path) -> Launch:
    """Launches `sft-qlora` on the tiny model: a step takes some hundredths of a second, every step is logged."""
    from recipes.loading import load
    from trainer.planning.start import start

    def launch(*overrides: str, name: str = "tiny", recipe: str = "sft-qlora") -> RunFolder:
        settings = (
            f"model.base={tiny_model}",
            f"data.train={tiny_model / 'train.jsonl'}",
            f"data.eval={tiny_model / 'validation.jsonl'}",
            "training.per_device_train_batch_size=4",
            "training.gradient_accumulation_steps=1",
            "training.max_length=128",
            "training.save_steps=20",
            "evaluation.samples=1",
            "evaluation.max_new_tokens=8",
            "evaluation.eval_on_start=false",
            "resources.cpu_threads=1",  # threads that wait for each other crawl on a box under load
            "resources.min_free_disk_gib=0.01",
        )
        return start(load(recipe, [*settings, *overrides]), home=home, command=["test"], name=name)

    return launch
