"""Where the effects of a recipe's settings are seen: what the method is built with, and what a run of one step does."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipes.schema import Recipe
from tests.trainer.worker.helpers import Worked, events, new_run, work_here
from tests.waiting import wait_until
from trainer.datasets.splits import Split
from trainer.runs import control
from trainer.runs.folder import RunFolder, read_json
from trainer.runs.launch import launch
from trainer.worker import models
from trainer.worker.data import Masking, Rows, decide_masking, split_of
from trainer.worker.methods import METHODS
from trainer.worker.methods.common import build_peft_config

ROWS = 20
CPU = models.Device("cpu", "CPU", False)


@dataclass
class Bench:
    """Where effects are seen. `files` holds datasets, `model` is the tiny model with the rows of the pocket."""

    model: Path
    files: Path
    home: Path
    worked: dict[str, Worked] = field(default_factory=dict)

    def placed(self, text: str) -> str:
        """`text` with FILES put in."""
        return text.replace("FILES", str(self.files))

    def config(self, recipe: Recipe) -> Any:
        """TRL's config, for a run on held-out rows."""
        rows = Rows([], [], Masking("none", None, False))
        return METHODS[recipe.method].build_config(recipe, CPU, self.files / "out", rows)

    def adapter(self, recipe: Recipe) -> Any:
        return build_peft_config(recipe)

    def loading(self, recipe: Recipe) -> dict[str, Any]:
        return models.load_arguments(recipe, CPU)

    def four_bits(self, recipe: Recipe) -> Any:
        return models.build_quantization_config(recipe.model, CPU)

    def split(self, recipe: Recipe) -> Split:
        return split_of(recipe, self.model)

    def masking(self, recipe: Recipe) -> str:
        from transformers import AutoTokenizer

        return decide_masking(recipe, self.split(recipe), AutoTokenizer.from_pretrained(self.model)).name

    def work(self, recipe: Recipe) -> Worked:
        """One step of a run, in this process; the same recipe is worked off once."""
        key = recipe.model_dump_json()
        if key not in self.worked:
            run = new_run(recipe, self.home)
            threading.Thread(target=stop_a_run_that_waits, args=(run,), daemon=True).start()
            self.worked[key] = work_here(run)
        assert self.worked[key].code == 0, self.worked[key].verdict
        return self.worked[key]

    def environment(self, recipe: Recipe) -> dict[str, str]:
        """The environment of the trainer that a launch starts."""
        run = launch(name="knob", method="sft", recipe=recipe.model_dump(), origins={}, command=[], home=self.home)
        trainer = (read_json(run.proc) or {})["trainer"]["pid"]
        pairs = Path(f"/proc/{trainer}/environ").read_bytes().decode().rstrip("\0").split("\0")
        control.kill_now(run, "test")
        return dict(pair.split("=", 1) for pair in pairs)


def stop_a_run_that_waits(run: RunFolder) -> None:
    """Ask a run that waits for room on the disk to stop; give up once it ended."""
    wait_until(lambda: bool(events(run, "alert") or events(run, "run.end")), 60)
    if not events(run, "run.end"):
        control.request(run, "stop", "test")


def write_files(folder: Path, model: Path) -> None:
    """The datasets and the second base that the table of settings names."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    asked = [
        {"question": f"1+{n}?", "other": f"2+{n}?", "answer": str(n + 1), "text": f"1+{n}={n + 1}"} for n in range(ROWS)
    ]
    talk = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    _write(folder / "asked.jsonl", asked)
    _write(folder / "gap.jsonl", [*asked, {"question": "1+1?", "answer": "", "text": ""}])
    _write(folder / "talks.jsonl", [{"messages": talk}] * ROWS)
    config = AutoConfig.from_pretrained(model)
    config.num_hidden_layers = 1
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "smaller")
    config.num_labels = 1
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "scorer")
    for made in ("smaller", "scorer"):
        AutoTokenizer.from_pretrained(model).save_pretrained(folder / made)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
