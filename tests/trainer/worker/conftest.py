"""Real runs that several of these tests look at: launched together, each once a session."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.worker.helpers import events, on_tiny
from tests.waiting import wait_until
from trainer.errors import RunError
from trainer.planning.start import start
from trainer.runs import control
from trainer.runs.folder import RunFolder
from trainer.runs.launch import resume
from trainer.runs.registry import is_locked, summaries, summary

METHODS = ("cpt", "sft-full", "sft-lora", "sft-qlora")
# Two epochs of six steps. The long samples give a test the time to ask for something at a known step.
LONG = (
    "model.lora.lora_dropout=0.1",
    "data.max_rows=48",
    "training.max_steps=12",
    "training.per_device_train_batch_size=4",
    "training.gradient_accumulation_steps=2",
    "training.save_steps=100",
    "evaluation.eval_steps=4",
    "evaluation.samples=2",
    "evaluation.max_new_tokens=200",
)
_LAST_S = 240.0  # all the runs of this file at once, on two cores


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A $BURNISH_HOME for runs that outlive a test; what still trains in it at the end is killed."""
    place = tmp_path_factory.mktemp("shared") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield place
    for found in summaries(place):
        if found.live:
            with contextlib.suppress(RunError):
                control.kill_now(RunFolder(Path(found.path)), "test")


@pytest.fixture(scope="session")
def cpt_eval(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Four held-out rows of plain text."""
    file = tmp_path_factory.mktemp("text") / "held-out.jsonl"
    rows = (tiny_model / "text.jsonl").read_text().splitlines()[:4]
    file.write_text("".join(f"{json.dumps(json.loads(row))}\n" for row in rows))
    return file


@pytest.fixture(scope="session")
def method_runs(shared_home: Path, tiny_model: Path, cpt_eval: Path) -> dict[str, RunFolder]:
    """Every method of the library after three steps."""
    runs = {}
    for name in METHODS:
        more = [f"data.eval={cpt_eval}"] if name == "cpt" else []
        loaded = on_tiny(tiny_model, name, "training.max_steps=3", *more)
        runs[name] = start(loaded, home=shared_home, command=["test"], name=name)
    wait_until(lambda: not any(summary(run).live for run in runs.values()), _LAST_S)
    return runs


@pytest.fixture(scope="session")
def whole_and_broken(shared_home: Path, tiny_model: Path) -> tuple[RunFolder, RunFolder]:
    """One QLoRA run twice: without a break, and stopped in the middle and resumed."""
    loaded = on_tiny(tiny_model, "sft-qlora", *LONG)
    whole, broken = (start(loaded, home=shared_home, command=["test"], name=name) for name in ("whole", "broken"))

    def evaluated_in_the_middle() -> bool:
        now = summary(broken)
        assert now.live, now.verdict
        return any(event["step"] == 4 for event in events(broken, "eval"))

    wait_until(evaluated_in_the_middle, _LAST_S)
    control.request(broken, "stop")  # the answers to the samples take longer than this
    wait_until(lambda: not summary(broken).live and not is_locked(broken), _LAST_S)
    resume(broken)
    wait_until(lambda: not any(summary(run).live for run in (whole, broken)), _LAST_S)
    return whole, broken
