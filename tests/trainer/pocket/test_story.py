"""The story of the whole job: runs that go on from each other, judged honestly, told to whoever follows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from trainer.pocket import cache, story
from trainer.pocket.stages import MEASURES, STAGES
from trainer.pocket.story import Beat, helped, play, read_story
from trainer.runs.registry import find


def result(stage: str, low: float) -> Beat:
    return Beat("result", stage, "", True, {"difference": {"estimate": 0.5, "low": low, "high": 0.9}})


def test_the_story_helped_only_where_every_stage_did() -> None:
    good = [result(stage.name, 0.1) for stage in STAGES]
    assert helped(good)
    assert not helped(good[:-1])
    assert not helped([])
    for at, stage in enumerate(STAGES):
        assert not helped([*good[:at], result(stage.name, 0.0), *good[at + 1 :]])


def test_a_story_is_read_while_its_last_line_is_being_written(tmp_path: Path) -> None:
    assert read_story(tmp_path) == []
    beats = [Beat("build", "base", "begun"), Beat("build", "base", "done", True, {"seconds": 3.0})]
    (tmp_path / "demo").mkdir()
    lines = "".join(json.dumps(asdict(beat)) + "\n" for beat in beats)
    (tmp_path / "demo" / "story.jsonl").write_text(lines + '{"kind": "laun')
    assert read_story(tmp_path) == beats


@pytest.fixture
def short_story(home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in which the base is there, untrained, and every run has one small step."""
    shutil.copytree(tiny_model, cache.folder(home))
    small = ("training.max_steps=1", "training.per_device_train_batch_size=8", "resources.cpu_threads=1")
    quick = ("evaluation.eval_on_start=false", "data.max_eval_rows=8", "evaluation.max_new_tokens=4")
    room = ("resources.min_free_disk_gib=0.01", "evaluation.per_device_eval_batch_size=8")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(
        story, "STAGES", tuple(replace(each, overrides=(*each.overrides, *small, *quick, *room)) for each in STAGES)
    )
    yield home


def test_each_stage_is_a_run_that_goes_on_from_the_one_before(short_story: Path) -> None:
    beats = list(play(short_story))

    launched = {beat.stage: str(beat.data["run"]) for beat in beats if beat.kind == "launch"}
    runs = [find(launched[stage.name], short_story) for stage in STAGES]
    assert [run.record()["method"] for run in runs] == ["sft", "dpo", "grpo"]
    assert [run.record()["parent"] for run in runs] == [None, runs[0].id, runs[1].id]
    assert all(any(run.adapter.glob("*.safetensors")) for run in runs)
    assert f"run:{runs[1].id}" in " ".join(runs[2].record()["command"])

    judged = [beat for beat in beats if beat.kind == "evaluate" and beat.done]
    assert [beat.stage for beat in judged] == ["base", "sft", "dpo", "rft"]
    assert all(set(beat.data["scores"]) == set(MEASURES) and beat.data["n"] == 40 for beat in judged)
    results = [beat for beat in beats if beat.kind == "result"]
    assert [beat.data["measure"] for beat in results] == ["valid", "named", "correct"]
    # One step teaches nothing, and the story says so.
    assert all("cannot be told to have helped" in beat.text for beat in results)
    assert not helped(beats)
