"""What `model.base: run:ID` comes to, and runs as families."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from recipes.schema import Model, Recipe
from trainer.errors import ModelError, RunError
from trainer.runs.folder import RunFolder, RunStatus, write_json
from trainer.runs.lineage import Lineage, resolve
from trainer.runs.registry import families, summaries


def make(
    home: Path, name: str, base: str = "pocket", *, tuning: str = "lora", state: str = "finished", r: int = 16
) -> RunFolder:
    recipe = Recipe(method="sft", model=Model.model_validate({"base": base, "tuning": tuning, "lora": {"r": r}}))
    parent = resolve(base, home).parent
    run = RunFolder.create(
        home, name=name, method="sft", recipe=recipe.model_dump(), origins={}, command=[], parent=parent
    )
    run.write_status(RunStatus(state, verdict={"kind": "completed", "message": "done"}))  # type: ignore[arg-type]
    run.adapter.mkdir(exist_ok=True)
    (run.adapter / "adapter_model.safetensors").touch()
    return run


def test_a_base_that_is_no_run_is_itself(tmp_path: Path) -> None:
    assert resolve("Qwen/Qwen3-8B", tmp_path) == Lineage("Qwen/Qwen3-8B")


def test_the_newest_adapter_counts_on_the_first_base(tmp_path: Path) -> None:
    first = make(tmp_path, "first", "some/base", r=4)
    second = make(tmp_path, "second", f"run:{first.id}", r=4)
    found = resolve("run:second", tmp_path)
    assert (found.base, found.adapter, found.parent) == ("some/base", second.adapter, second.id)
    assert found.lora is not None and found.lora["r"] == 4


def test_a_fully_tuned_parent_is_a_base_of_its_own(tmp_path: Path) -> None:
    run = make(tmp_path, "whole", tuning="full")
    assert resolve("run:whole", tmp_path) == Lineage(str(run.adapter), None, run.id, None, "sft")


def test_a_base_that_the_record_holds_needs_no_grandparent(tmp_path: Path) -> None:
    run = make(tmp_path, "orphan")
    record = run.record()
    record["recipe"]["model"]["base"] = "run:long-gone"
    write_json(run.run_json, {**record, "base": "some/base"})
    assert resolve("run:orphan", tmp_path).base == "some/base"


def test_a_run_without_a_result_is_no_base(tmp_path: Path) -> None:
    run = make(tmp_path, "empty")
    (run.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="left no result"):
        resolve("run:empty", tmp_path)
    with pytest.raises(RunError, match="no run `nowhere`"):
        resolve("run:nowhere", tmp_path)


def test_runs_stand_under_the_run_that_they_went_on_from(tmp_path: Path) -> None:
    old = make(tmp_path, "old")
    time.sleep(0.01)
    other = make(tmp_path, "other")
    time.sleep(0.01)
    child = make(tmp_path, "child", f"run:{old.id}")
    time.sleep(0.01)
    grandchild = make(tmp_path, "grandchild", f"run:{child.id}")
    shown = [(depth, run.id) for depth, run in families(summaries(tmp_path))]
    assert shown == [(0, old.id), (1, child.id), (2, grandchild.id), (0, other.id)]
    without = [(depth, run.id) for depth, run in families([run for run in summaries(tmp_path) if run.id != old.id])]
    assert (0, child.id) in without
