"""A run that was stopped in the middle and resumed goes on as if nothing had happened, number by number.

The base is NF4, the adapter has dropout, and the held-out rows are evaluated and answered on the way: a random state
that is lost on resuming, or that evaluating or sampling leaves changed, shows in the very next loss.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.trainer.worker.helpers import events
from trainer.runs.events import read_events
from trainer.runs.folder import RunFolder
from trainer.runs.registry import summary

Runs = tuple[RunFolder, RunFolder]


def curve(run: RunFolder, type: str, *keys: str) -> dict[int, list[Any]]:
    """The given numbers of every event of a type, by step; a step that comes twice fails."""
    found: dict[int, list[Any]] = {}
    for event in events(run, type):
        assert event["step"] not in found, f"step {event['step']} was reported twice"
        found[event["step"]] = [event[key] for key in keys]
    return found


def test_the_broken_run_was_broken_in_the_middle(whole_and_broken: Runs) -> None:
    whole, broken = whole_and_broken
    assert [start["resumed_from"] for start in events(whole, "run.start")] == [None]
    first, second = events(broken, "run.start")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert 4 < second["resumed_from"] < 12
    ends = [(end["state"], end["verdict"]["kind"]) for end in events(broken, "run.end")]
    assert ends == [("finished", "stopped"), ("finished", "completed")]
    assert summary(broken).step == summary(whole).step == 12


def test_every_step_has_the_same_loss_gradient_and_learning_rate(whole_and_broken: Runs) -> None:
    keys = ("loss", "grad_norm", "learning_rate", "epoch", "total")
    whole, broken = (curve(run, "step", *keys) for run in whole_and_broken)
    assert list(whole) == list(range(1, 13))
    assert broken == whole


def test_every_evaluation_and_every_sample_is_the_same(whole_and_broken: Runs) -> None:
    whole, broken = (curve(run, "eval", "eval_loss", "eval_mean_token_accuracy") for run in whole_and_broken)
    assert list(whole) == [0, 4, 8, 12]
    assert broken == whole
    answers = [
        [(event["step"], event["index"], event["completion"]) for event in events(run, "sample")]
        for run in whole_and_broken
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 8


def test_the_two_results_are_the_same_weights(whole_and_broken: Runs) -> None:
    import torch
    from safetensors.torch import load_file

    whole, broken = (load_file(run.adapter / "adapter_model.safetensors") for run in whole_and_broken)
    assert whole.keys() == broken.keys()
    assert any(weights.abs().max() > 0 for name, weights in whole.items() if "lora_B" in name)
    for name, weights in whole.items():
        torch.testing.assert_close(broken[name], weights, rtol=0, atol=0)


@pytest.mark.parametrize("position", [0, 1])
def test_only_the_stop_left_a_checkpoint_before_the_end(whole_and_broken: Runs, position: int) -> None:
    run = whole_and_broken[position]
    saved = [(event["step"], event["reason"]) for event in events(run, "checkpoint")]
    stopped_at = events(run, "run.start")[-1]["resumed_from"]
    assert saved[:-1] == ([(stopped_at, "stop")] if position else [])
    assert saved[-1][0] == 12


def test_an_evaluation_is_told_as_one(whole_and_broken: Runs) -> None:
    phase, seen = "", set()
    for event in read_events(whole_and_broken[0].events):
        if event["type"] == "phase":
            phase = event["phase"]
        elif event["type"] in ("step", "eval"):
            seen.add((event["type"], phase))
    assert seen == {("step", "training"), ("eval", "evaluating")}
