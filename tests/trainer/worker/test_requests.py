"""Requests that come at a bad moment: they neither end a run nor get lost."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.trainer.worker.bench import stop_a_run_that_waits
from tests.trainer.worker.helpers import new_run, on_tiny, work_here
from trainer.runs import control


def test_evaluating_without_held_out_rows_does_not_end_the_run(tiny_model: Path, tmp_path: Path) -> None:
    nothing_held_out = ("data.eval=none", "data.eval_fraction=0")
    run = new_run(on_tiny(tiny_model, "sft-lora", "training.max_steps=3", *nothing_held_out).recipe, tmp_path)
    control.request(run, "evaluate", "test")
    worked = work_here(run)
    assert worked.code == 0, worked.verdict
    assert [letter["request"] for letter in worked.events("control.ack")] == ["evaluate"]
    assert len(worked.events("step")) == 3


def test_a_stop_is_obeyed_while_a_checkpoint_waits_for_room(tiny_model: Path, tmp_path: Path) -> None:
    settings = ("training.max_steps=4", "training.save_steps=2", "resources.min_free_disk_gib=1e9")
    run = new_run(on_tiny(tiny_model, "sft-lora", *settings).recipe, tmp_path)
    threading.Thread(target=stop_a_run_that_waits, args=(run,), daemon=True).start()
    worked = work_here(run)
    assert len(worked.events("alert")) == 1
    assert (worked.code, worked.verdict["kind"]) == (0, "stopped")
    assert [step["step"] for step in worked.events("step")] == [1, 2]
    assert [saved["reason"] for saved in worked.events("checkpoint")] == ["stop"]
