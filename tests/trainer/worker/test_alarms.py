"""Which verdicts are told while a run trains, which of them end it, and that it saves first."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recipes.schema import Alarm, Health
from tests.trainer.worker.helpers import new_run, on_tiny, work_here
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder
from trainer.runs.reader import RunReader
from trainer.worker.alarms import Alarms
from trainer.worker.clock import StepClock
from trainer.worker.reporter import Reporter
from trainer.worker.telemetry import Telemetry


def alarms(*stop_on: Alarm, method: str = "grpo", patience: int = 3) -> Alarms:
    return Alarms(method, Health(stop_on=list(stop_on), patience=patience), [])


def fed(watch: Alarms, metric: str, values: list[float], start: int = 1) -> list[tuple[int, str]]:
    """(step, alarm) of what was told."""
    return [
        (step, found.alarm) for step, value in enumerate(values, start) for found in watch.read(step, {metric: value})
    ]


def test_an_alarm_is_told_when_it_becomes_bad_and_again_only_after_it_was_over() -> None:
    watch = alarms()
    assert fed(watch, "kl", [3.0] * 20) == [(5, "kl")]
    assert fed(watch, "kl", [0.1] * 20, 21) == []
    assert fed(watch, "kl", [3.0] * 20, 41) == [(46, "kl")]
    assert watch.stop is None  # nothing was to stop on


@pytest.mark.parametrize("patience", [1, 3, 8])
def test_it_stops_after_that_many_bad_readings_in_a_row(patience: int) -> None:
    watch = alarms("kl", patience=patience)
    fed(watch, "kl", [3.0] * (4 + patience - 1))
    assert watch.stop is None
    fed(watch, "kl", [3.0], 4 + patience)
    assert watch.stop is not None and (watch.stop.alarm, watch.stop.step) == ("kl", 4 + patience)


def test_a_good_reading_between_begins_the_count_anew() -> None:
    watch = alarms("nonfinite", method="sft")
    fed(watch, "loss", [1.0, math.nan, math.nan, 1.0, math.nan, math.nan])
    assert watch.stop is None
    fed(watch, "loss", [math.nan], 7)
    assert watch.stop is not None and watch.stop.alarm == "nonfinite"


def test_an_alarm_that_is_not_named_stops_nothing() -> None:
    watch = alarms("entropy")
    assert fed(watch, "kl", [3.0] * 40) == [(5, "kl")]
    assert watch.stop is None


def test_one_evaluation_is_one_reading_however_many_steps_follow_it() -> None:
    watch = alarms("overfitting", method="sft", patience=2)
    for step in range(1, 61):
        watch.read(step, {"loss": 4.0 / step})
        if step % 20 == 0:
            watch.read(step, {"eval_loss": {20: 1.0, 40: 1.5, 60: 1.6}[step]})
        assert (watch.stop is not None) == (step == 60)


def test_the_beginning_is_remembered_and_the_middle_forgotten() -> None:
    watch = alarms("chosen-collapse", method="dpo", patience=1)
    for step in range(1, 5000):
        fall = step / 5000
        watch.read(
            step,
            {
                "logps/chosen": -80 - 60 * fall, "logps/rejected": -80 - 10 * fall,
                "rewards/chosen": -6 * fall, "rewards/rejected": -fall,
            },
        )  # fmt: skip
    assert watch.stop is not None and "-80.1 to -120" in watch.stop.text
    assert sum(map(len, watch._readings.values())) < 4 * 600


def test_a_resumed_run_remembers_what_was_read_before(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, name="a", method="sft", recipe={}, origins={}, command=["x"])
    writer = EventWriter(run)
    for step in range(1, 21):
        writer.write("step", step=step, loss=4.0 / step)
    writer.write("eval", step=20, eval_loss=1.0)
    watch = alarms(method="sft")
    watch.remember(RunReader(run).open().series)
    watch.read(21, {"loss": 0.1})
    assert [found.alarm for found in watch.read(21, {"eval_loss": 1.5})] == ["overfitting"]


def test_the_clock_adds_up_what_each_part_took_and_begins_anew() -> None:
    clock = StepClock()
    with clock.part("generate"):
        pass
    with pytest.raises(KeyError), clock.part("score"):
        raise KeyError
    first = clock.take()
    assert set(first) == {"generate", "score"} and all(seconds >= 0 for seconds in first.values())
    assert clock.take() == {}


class Told:
    """Takes events as a reporter does."""

    current_phase = "training"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event(self, type: str, **fields: Any) -> None:
        self.events.append({"type": type, **fields})

    def status(self, **changes: Any) -> None:
        pass

    def requests(self) -> list[Any]:
        return []


@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_a_rollout_step_is_split_into_its_parts_and_the_rest(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))  # every look at the clock takes a second
    told, clock = Told(), StepClock()
    telemetry = Telemetry(
        cast(Reporter, told), evaluates=False, prompts=[], max_new_tokens=1, min_free_bytes=0, flops_per_token=0,
        device_name="", method=method, clock=clock,
    )  # fmt: skip
    control = SimpleNamespace(should_save=False)
    for step in (1, 2):
        if method == "grpo":
            with clock.part("generate"):  # of an evaluation before the step
                pass
        state = SimpleNamespace(global_step=step, max_steps=9)
        telemetry.on_step_begin(None, state, control)
        for part in ("generate", "generate", "score") if (method, step) == ("grpo", 1) else ():
            with clock.part(part):
                pass
        telemetry.on_step_end(None, state, control)
    telemetry.on_log(None, state, control, {"loss": 0.1})  # two steps are told at once
    (step_event,) = [event for event in told.events if event["type"] == "step"]
    split = {name: step_event.get(name) for name in ("generate_s", "score_s", "learn_s")}
    if method == "grpo":
        assert step_event["step_time_s"] == 4.0
        assert split == {"generate_s": 1.0, "score_s": 0.5, "learn_s": 2.5}
    else:
        assert set(split.values()) == {None}


# Eight rows are known by heart after some forty steps: the training loss goes to nought, the held-out one rises.
BY_HEART = (
    "training.learning_rate=3e-3", "training.lr_scheduler_type=constant", "data.max_rows=8", "evaluation.eval_steps=10",
)  # fmt: skip


def test_a_run_that_learns_by_heart_saves_and_ends_where_the_recipe_says_so(tiny_model: Path, tmp_path: Path) -> None:
    stops = ("training.max_steps=200", "health.stop_on=[nonfinite, overfitting]", "health.patience=2")
    worked = work_here(new_run(on_tiny(tiny_model, "sft-full", *BY_HEART, *stops).recipe, tmp_path))
    verdict = worked.verdict
    assert (worked.code, verdict["kind"], verdict["exit_code"]) == (1, "health", 1), verdict
    assert "it learns by heart: held-out loss is" in verdict["message"] and "own rule" in verdict["message"]
    assert "fewer epochs" in verdict["hint"]
    (told,) = worked.events("alert")
    assert told["kind"] == "overfitting" and told["remedy"] == verdict["hint"]
    (saved,) = worked.events("checkpoint")
    last = worked.events("step")[-1]["step"]
    assert last < 200 and (saved["step"], saved["reason"]) == (last, "health")
    assert told["step"] == last - 10 and told["value"] == pytest.approx(worked.events("eval")[-2]["eval_loss"])
    assert worked.run.latest_checkpoint() is not None and worked.run.adapter.exists()
    assert told["seq"] < saved["seq"] < worked.events("run.end")[-1]["seq"]
    status = worked.run.read_status()
    assert status is not None and status.state == "failed"


def test_it_is_only_told_where_the_recipe_does_not_stop_on_it(tiny_model: Path, tmp_path: Path) -> None:
    worked = work_here(new_run(on_tiny(tiny_model, "sft-full", *BY_HEART, "training.max_steps=80").recipe, tmp_path))
    assert (worked.code, worked.verdict["kind"]) == (0, "completed"), worked.verdict
    assert [alert["kind"] for alert in worked.events("alert")] == ["overfitting"]


def test_a_loss_that_is_no_number_ends_a_run_only_where_the_recipe_says_so(tiny_model: Path, tmp_path: Path) -> None:
    settings = ("training.max_steps=8", "training.learning_rate=1e30")
    patient = work_here(
        new_run(on_tiny(tiny_model, "sft-lora", *settings, "health.patience=2").recipe, tmp_path / "patient")
    )
    assert (patient.code, patient.verdict["kind"]) == (1, "nonfinite")
    assert "in 2 readings in a row, at step 3" in patient.verdict["message"]
    assert patient.events("checkpoint") == []
    deaf = work_here(new_run(on_tiny(tiny_model, "sft-lora", *settings, "health.stop_on=[]").recipe, tmp_path / "deaf"))
    assert (deaf.code, deaf.verdict["kind"]) == (0, "completed")
    assert [alert["kind"] for alert in deaf.events("alert")] == ["nonfinite"]
