"""The verdicts on a run's numbers, each on both sides of its threshold, and the sentence that is made of them."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest

from recipes import schema
from trainer.runs import ranges
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.health import Finding, findings, in_words, of_view
from trainer.runs.model import RunView
from trainer.runs.reader import RunReader
from trainer.runs.supervisor import take_lock


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """A run that trains, as its lock and its status say."""
    run = RunFolder.create(tmp_path, name="a", method="sft", recipe={}, origins={}, command=["test"])
    run.write_status(RunStatus("running", phase="training", step=1))
    lock = take_lock(run.lock)
    assert lock is not None
    yield run
    os.close(lock)


def train(run: RunFolder, losses: list[float], eval_losses: list[float] | None = None) -> None:
    writer = EventWriter(run)
    for step, loss in enumerate(losses, 1):
        writer.write("step", step=step, total=len(losses), loss=loss, step_time_s=0.5)
    for number, loss in enumerate(eval_losses or [], 1):
        writer.write("eval", step=number * 5, eval_loss=loss)
    writer.close()


def seen(run: RunFolder) -> RunView:
    return RunReader(run).open()


FALLING = [4 / step**0.5 for step in range(1, 31)]
RISING = [2 + step / 30 for step in range(30)]


@pytest.mark.parametrize(
    ("losses", "held_out", "sentence"),
    [
        ([2.5], [], "started: loss 2.5"),
        (FALLING, [], "learning: loss falls"),
        ([2.0] * 30, [], "loss is level"),
        (RISING, [], "trouble: loss rises; a lower training.learning_rate is the first thing to try"),
        (FALLING, [3.0, 2.0, 1.0], "learning: loss falls, held-out follows"),
        (
            FALLING,
            [3.0, 1.0, 1.05],
            "learning: loss falls; held-out loss is 5 % above its best: it starts to learn by heart",
        ),
    ],
)
def test_the_trend_is_said(run: RunFolder, losses: list[float], held_out: list[float], sentence: str) -> None:
    train(run, losses, held_out)
    assert in_words(seen(run)) == sentence


def test_the_worst_verdict_comes_first_with_its_range_source_and_remedy(run: RunFolder) -> None:
    train(run, FALLING, [3.0, 1.0, 1.3])
    assert in_words(seen(run)) == (
        "it learns by heart: held-out loss is 30 % above its best, training loss falls (up to 10 % above its best, "
        "own rule): the checkpoint nearest to step 10 is the better one; fewer epochs, more rows, a smaller rank"
    )


def test_the_newest_alert_is_said_on_one_safe_line_while_it_is_new(run: RunFolder) -> None:
    train(run, FALLING)
    writer = EventWriter(run)
    for message in ("an older one", "the loss is \x1b[31mno\nnumber"):
        writer.write("alert", kind="nonfinite", message=message, step=11)
    assert in_words(seen(run)) == "learning: loss falls; the loss is �[31mno⏎number"
    for step in range(31, 33):
        writer.write("step", step=step, total=40, loss=0.7)
    assert in_words(seen(run)) == "learning: loss falls"


def test_a_loss_that_is_no_number_from_the_first_step_is_said(run: RunFolder) -> None:
    EventWriter(run).write("step", step=1, total=9, loss=math.nan)
    assert in_words(seen(run)).startswith("the loss at step 1 is no number (a number, own rule): resume from")


def test_waiting_and_loading_are_said_before_any_trend(run: RunFolder) -> None:
    train(run, FALLING)
    run.write_status(RunStatus("running", phase="loading"))
    assert in_words(seen(run)) == "running: loading"
    run.write_status(RunStatus("running", phase="paused", note="paused: somebody asked"))
    assert in_words(seen(run), now=time.time() + 3600) == "paused: somebody asked"


def test_a_silent_run_may_hang(run: RunFolder) -> None:
    train(run, FALLING)
    view = seen(run)
    assert in_words(view, now=time.time() + 20).startswith("learning")
    assert "it may hang" in in_words(view, now=time.time() + 60)
    silent = view.summary.age(now=time.time() + 60)
    assert silent is not None and 59 < silent < 65


@pytest.mark.parametrize(("utilization", "said"), [(0, "its GPU idles at 0 %"), (97, "its GPU works at 97 %")])
def test_a_silent_run_is_told_with_what_its_gpu_does(run: RunFolder, utilization: int, said: str) -> None:
    train(run, FALLING)
    found = of_view(seen(run), now=time.time() + 60, utilization=utilization)
    assert found[0].alarm == "stall" and found[0].text.endswith(said)


def test_a_run_that_hangs_with_a_beating_heart_is_found_out(run: RunFolder) -> None:
    """The heartbeat comes from a thread of its own: it goes on when the training loop waits for ever."""
    long_ago = time.time() - 3600
    with run.events.open("w") as out:
        for step, loss in enumerate(FALLING, 1):
            event = {"v": 1, "t": long_ago, "seq": step, "type": "step", "step": step, "loss": loss, "step_time_s": 0.5}
            out.write(json.dumps(event) + "\n")
    EventWriter(run).write("heartbeat", step=30, phase="training")
    assert "it may hang" in in_words(seen(run))


def test_an_ended_run_says_how(run: RunFolder) -> None:
    train(run, FALLING)
    verdict = {"kind": "oom-gpu", "message": "the GPU ran out of memory"}
    run.write_status(RunStatus("failed", step=30, verdict=verdict))
    assert in_words(seen(run)) == "failed: the GPU ran out of memory"


Series = Sequence[float]


def noise(step: int) -> float:
    """A course that looks random and is the same every time."""
    return math.sin(step * 2.4) + 0.5 * math.sin(step * 5.3)


def around(value: float, spread: float = 0.05, count: int = 40) -> list[float]:
    return [value * (1 + spread * noise(step)) for step in range(count)]


def between(first: float, final: float, spread: float = 0.0, count: int = 60) -> list[float]:
    return [first + (final - first) * step / (count - 1) + spread * noise(step) for step in range(count)]


def judged(method: str, alarm: str, checks: Sequence[str] = (), every: int = 10, **series: Series) -> Finding | None:
    """The finding of one alarm. Series by their names with / as __; held-out ones have a reading every `every` steps."""
    readings = {
        name.replace("__", "/"): [
            (step * every if name.startswith("eval_") else step, value) for step, value in enumerate(values, 1)
        ]
        for name, values in series.items()
    }
    found = [finding for finding in findings(method, readings, checks) if finding.alarm == alarm]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("method", "alarm", "metric", "value", "level", "said"),
    [
        ("sft", "grad-norm", "grad_norm", 0.09, "watch", "a small gradient: gradient norm 0.09 (0.1 to 10,"),
        ("cpt", "grad-norm", "grad_norm", 0.11, "good", "gradient norm 0.11 (0.1 to 10,"),
        ("sft", "grad-norm", "grad_norm", 9.9, "good", "gradient norm 9.9"),
        ("sft", "grad-norm", "grad_norm", 10.5, "watch", "a large gradient: gradient norm 10"),
        ("sft", "grad-norm", "grad_norm", 99.0, "watch", "a large gradient"),
        ("sft", "grad-norm", "grad_norm", 101.0, "bad", "a large gradient"),
        ("grpo", "grad-norm", "grad_norm", 0.0009, "watch", "a small gradient: gradient norm 0.0009 (0.001 to 1,"),
        ("grpo", "grad-norm", "grad_norm", 0.5, "good", "gradient norm 0.5"),
        ("grpo", "grad-norm", "grad_norm", 9.0, "watch", "a large gradient"),
        ("grpo", "grad-norm", "grad_norm", 11.0, "bad", "a large gradient"),
        ("grpo", "no-variance", "frac_reward_zero_std", 0.79, "good", "79 % of groups have no variance (< 80 %,"),
        ("rloo", "no-variance", "frac_reward_zero_std", 0.92, "bad", "nothing to learn from: 92 % of groups have no"),
        ("grpo", "entropy", "entropy", 0.009, "bad", "answers become alike: entropy 0.009 (0.05 to 0.5,"),
        ("grpo", "entropy", "entropy", 0.04, "watch", "answers become alike: entropy 0.04"),
        ("ppo", "entropy", "entropy", 0.06, "good", "entropy 0.06"),
        ("rloo", "entropy", "entropy", 1.4, "watch", "answers are still spread out: entropy 1.4"),
        ("grpo", "kl", "kl", 0.45, "good", "KL 0.45 a token (< 0.5,"),
        ("grpo", "kl", "kl", 0.6, "watch", "far from the reference: KL 0.6"),
        ("rloo", "kl", "kl", 2.1, "bad", "far from the reference: KL 2.1"),
        ("grpo", "clip-ratio", "clip_ratio/region_mean", 0.09, "good", "9 % of ratios are clipped (< 10 %,"),
        ("grpo", "clip-ratio", "clip_ratio/region_mean", 0.11, "watch", "steps are too large: 11 %"),
        ("ppo", "clip-ratio", "policy/clipfrac_avg", 0.31, "bad", "steps are too large: 31 %"),
        ("grpo", "clipped", "completions/clipped_ratio", 0.29, "good", "29 % of completions reach the limit (< 30 %,"),
        ("grpo", "clipped", "completions/clipped_ratio", 0.31, "watch", "answers are cut off: 31 %"),
        ("ppo", "clipped", "completions/clipped_ratio", 0.82, "bad", "answers are cut off: 82 %"),
        ("grpo", "off-policy", "sampling/sampling_logp_difference/mean", 0.09, "good", "log-probs differ by 0.09"),
        ("grpo", "off-policy", "sampling/sampling_logp_difference/mean", 1.1, "bad", "vLLM answers with other weights"),
    ],
)  # fmt: skip
def test_published_ranges(method: str, alarm: str, metric: str, value: float, level: str, said: str) -> None:
    found = judged(method, alarm, **{metric: around(value, 0.0)})
    assert found is not None
    assert (found.level, found.source) == (level, "Axolotl's guide")
    assert found.why.startswith(said), found.why
    assert bool(found.remedy) == (level != "good")
    assert found.value == pytest.approx(value) and found.step == 40
    assert "{" not in found.remedy


def test_a_remedy_names_the_key_of_the_method() -> None:
    kl = {method: judged(method, "kl", kl=around(3.0)) for method in ("grpo", "rloo")}
    ppo = judged("ppo", "kl", objective__kl=around(30.0), completions__mean_length=around(10.0))
    assert [found.remedy.split()[1] for found in (*kl.values(), ppo) if found] == [
        "grpo.beta", "rloo.beta", "ppo.kl_coef",
    ]  # fmt: skip


def test_ppo_is_judged_by_the_divergence_of_a_token() -> None:
    found = judged("ppo", "kl", objective__kl=around(30.0, 0.0), completions__mean_length=around(100.0, 0.0))
    assert found is not None and (found.level, found.value) == ("good", pytest.approx(0.3))


def test_no_range_is_held_against_a_method_that_it_was_not_published_for() -> None:
    for method, metric in (("dpo", "grad_norm"), ("ppo", "grad_norm"), ("kto", "kl"), ("sft", "entropy")):
        assert findings(method, {metric: [(step, 50.0) for step in range(40)]}) == []
    assert judged("ppo", "no-variance", frac_reward_zero_std=around(1.0)) is None


def test_a_few_readings_give_no_verdict_and_one_wild_reading_no_bad_one() -> None:
    assert judged("grpo", "entropy", entropy=[0.001] * 4) is None
    found = judged("sft", "grad-norm", grad_norm=[*around(1.0), 900.0])
    assert found is not None and found.level == "good"


@pytest.mark.parametrize(
    ("losses", "level"),
    [
        ([*around(1.2, 0.1), 1.6], "good"),  # a hard batch
        ([*around(1.2, 0.1), 2.3], "good"),  # not twice the median
        ([*around(1.2, 0.1), 3.1], "bad"),
        ([*around(1.2, 0.1), 3.1, 3.0, 2.9], "bad"),  # it stays up: the median does not follow so soon
        ([*around(1.2, 0.1), 3.1, 1.2], "good"),  # over
        ([*around(0.02, 0.5), 0.4], "good"),  # near zero a loss doubles with every hard row
        ([*around(1.0, 0.6), 2.6], "good"),  # so noisy that it is within six deviations
        ([*between(4.0, 1.0, 0.1), 1.2], "good"),
    ],
)
def test_a_loss_spike_stands_out_of_its_window(losses: list[float], level: str) -> None:
    found = judged("sft", "loss-spike", loss=losses)
    assert found is not None and found.level == level, found


def test_the_loss_of_a_policy_is_no_measure() -> None:
    assert judged("grpo", "loss-spike", loss=[*around(0.01), 9.0]) is None
    assert judged("rloo", "overfitting", loss=FALLING, eval_loss=[1.0, 2.0, 3.0]) is None


@pytest.mark.parametrize(("value", "level"), [(math.nan, "bad"), (math.inf, "bad"), (2.0, None)])
def test_a_loss_that_is_no_number(value: float, level: str | None) -> None:
    found = judged("grpo", "nonfinite", loss=[2.0, value])
    assert (found.level if found else None) == level


@pytest.mark.parametrize(
    ("train_losses", "eval_losses", "level"),
    [
        (FALLING, [2.0, 1.0, 1.009], "good"),
        (FALLING, [2.0, 1.0, 1.02], "watch"),
        (FALLING, [2.0, 1.0, 1.09], "watch"),
        (FALLING, [2.0, 1.0, 1.11], "bad"),
        (RISING, [2.0, 1.0, 1.11], "watch"),  # both rise: that is no overfitting
        (FALLING, [2.0, 1.0, 1.3, 0.9], "good"),
        (FALLING, [2.0, math.nan, 1.0], "good"),
        (FALLING, [2.0, 0.0, 1.0], None),
    ],
)
def test_overfitting_is_training_and_held_out_loss_that_part(
    train_losses: list[float], eval_losses: list[float], level: str | None
) -> None:
    found = judged("sft", "overfitting", loss=train_losses, eval_loss=eval_losses)
    assert (found.level if found else None) == level


@pytest.mark.parametrize(
    ("method", "series", "level", "said"),
    [
        ("dpo", {"rewards/accuracies": around(0.52, 0.1)}, "good", "accuracy 52 %"),
        ("dpo", {"rewards/accuracies": around(0.48, 0.1)}, "bad", "it prefers the wrong answers: accuracy 48 %"),
        (
            "dpo", {"rewards/accuracies": around(0.9), "eval_rewards/accuracies": [0.6, 0.49]},
            "bad", "it prefers the wrong answers: held-out accuracy 49 %",
        ),
        (
            "dpo", {"rewards/accuracies": around(0.4), "eval_rewards/accuracies": [0.6, 0.51]},
            "good", "held-out accuracy 51 %",
        ),
        ("dpo", {"eval_rewards/accuracies": [0.0]}, None, ""),  # equal to the reference: nothing is preferred yet
        ("dpo", {"rewards/accuracies": around(0.0, count=19)}, None, ""),
        ("reward", {"eval_accuracy": [0.5, 0.71]}, "good", "held-out accuracy 71 %"),
        ("reward", {"accuracy": around(0.45)}, "bad", "it prefers the wrong answers: accuracy 45 %"),
        ("kto", {"eval_rewards/margins": [0.1, 0.8]}, "good", "held-out margin 0.8; KTO has no accuracy"),
        ("kto", {"rewards/margins": around(-0.2)}, "bad", "it prefers the wrong answers: margin -0.2"),
        ("sft", {"rewards/accuracies": around(0.1)}, None, ""),
    ],
)  # fmt: skip
def test_preference_accuracy(method: str, series: dict[str, Series], level: str | None, said: str) -> None:
    found = judged(method, "preference-accuracy", **series)
    assert (found.level if found else None) == level
    assert (found.text if found else "").startswith(said)


def test_a_reward_model_is_seen_beside_the_published_ones() -> None:
    found = judged("reward", "preference-accuracy", accuracy=around(0.7))
    assert found is not None and "InstructGPT's reward model: 72.4 %, 69.6 %" in found.source


def sides(beta: float, chosen: float, rejected: float, at: float = -80.0) -> dict[str, Series]:
    """A DPO run in which the log-probabilities of both sides move by so much."""
    return {
        "logps/chosen": between(at, at + chosen, 2.0),
        "logps/rejected": between(at, at + rejected, 2.0),
        "rewards/chosen": between(0, beta * chosen, 0.01),
        "rewards/rejected": between(0, beta * rejected, 0.01),
    }


@pytest.mark.parametrize(
    ("chosen", "rejected", "level"),
    [
        (-20, -60, "good"),  # the classic worry
        (-90, -120, "good"),  # far, but rejected ones fall further
        (-60, -40, "good"),  # faster, but not twice
        (-60, -20, "bad"),
        (-30, -5, "good"),  # not by half of its size
        (-60, 10, "bad"),
        (10, -30, "good"),
    ],
)
@pytest.mark.parametrize("beta", [0.01, 0.5])
def test_chosen_answers_collapse_when_they_fall_far_and_much_faster(
    beta: float, chosen: float, rejected: float, level: str
) -> None:
    found = judged("dpo", "chosen-collapse", **sides(beta, chosen, rejected))
    assert found is not None and found.level == level, found
    common = "which is common" in found.text
    assert common == (level == "good" and chosen < 0)


@pytest.mark.parametrize(
    ("rewards", "level", "said"),
    [
        (around(0.16), "good", "reward correct 0.16"),
        (around(0.14), "watch", "little is rewarded: reward correct 0.14"),
        (around(0.0), "bad", "no reward at all: 20 readings of 0"),
        (around(0.0, count=19), None, ""),  # within 20 steps
        ([*around(0.0, count=39), 0.1], "watch", "little is rewarded"),
        (around(-3.0), None, ""),  # a reward model's scores have no range
    ],
)
def test_low_reward(rewards: list[float], level: str | None, said: str) -> None:
    series = {"reward": rewards, "rewards/correct/mean": rewards, "rewards/brief/mean": around(0.9)}
    found = judged("grpo", "low-reward", checks=["brief"], **series)
    assert (found.level if found else None) == level
    assert (found.text if found else "").startswith(said)


@pytest.mark.parametrize(
    ("check", "level"),
    [
        (between(0.8, 0.4, 0.05), "bad"),
        (between(0.8, 0.77, 0.001), "watch"),  # surely, but by less than a tenth
        (around(0.8, 0.3, 60), "good"),  # noise
        (between(0.3, 0.8, 0.05), "good"),
        (between(-0.1, -0.6, 0.02), "bad"),
    ],
)
def test_reward_hacking_is_a_reward_that_rises_while_a_check_falls(check: list[float], level: str) -> None:
    series = {"reward": between(0.2, 0.7, 0.05), "rewards/honest/mean": check}
    found = judged("grpo", "reward-hacking", checks=["honest"], **series)
    assert found is not None and found.level == level, found
    assert judged("grpo", "reward-hacking", **series) is None  # a reward that is taught is no check


def test_a_check_that_falls_together_with_the_reward_is_no_hacking() -> None:
    series = {"reward": between(0.7, 0.2, 0.05), "rewards/honest/mean": between(0.8, 0.4, 0.05)}
    found = judged("rloo", "reward-hacking", checks=["honest"], **series)
    assert found is not None and found.level == "good"


@pytest.mark.parametrize(
    ("held_out", "spread", "level"),
    [
        ([0.3, 0.6, 0.44, 0.43], 0.05, "bad"),
        ([0.3, 0.6, 0.44, 0.43], 0.2, "good"),  # no more than what batches differ by
        ([0.3, 0.6, 0.3, 0.58], 0.05, "good"),
        ([0.3, 0.6, 0.58, 0.3], 0.05, "good"),  # of the last two the better one counts
        ([0.3, 0.5, 0.52], 0.05, "good"),
        ([0.6, 0.3], 0.05, None),
    ],
)
def test_the_held_out_reward_is_a_check_too(held_out: list[float], spread: float, level: str | None) -> None:
    found = judged("grpo", "reward-hacking", reward=between(0.2, 0.9, spread), eval_reward=held_out)
    assert (found.level if found else None) == level, found


def test_a_reward_that_rises_by_less_than_a_tenth_is_not_hacked() -> None:
    series = {"rewards/honest/mean": between(0.8, 0.4, 0.01)}
    for final, level in ((0.53, "good"), (0.58, "bad")):
        found = judged("grpo", "reward-hacking", checks=["honest"], reward=between(0.5, final, 0.001), **series)
        assert found is not None and found.level == level, found


def test_names_of_rewards_are_shown_safely() -> None:
    evil = "x\x1b[2J\ny"
    series = {"reward": between(0.2, 0.7), f"rewards/{evil}/mean": between(0.9, 0.1)}
    for found in findings("grpo", {name: list(enumerate(values)) for name, values in series.items()}, [evil]):
        assert "\x1b" not in found.why and "\n" not in found.why
    for found in findings("grpo", {name: list(enumerate(values)) for name, values in series.items()}):
        assert "\x1b" not in found.why and "\n" not in found.why


@pytest.mark.parametrize("method", get_args(schema.Method))
def test_no_reading_whatever_breaks_a_verdict_which_would_end_the_run(method: str) -> None:
    names = [name for entry in ranges.RANGES for name in entry.metrics]
    names += ["loss", "reward", "accuracy", "rewards/c/mean", "objective/kl", "completions/mean_length"]
    names += [
        f"{kind}/{side}" for kind in ("logps", "rewards") for side in ("chosen", "rejected", "margins", "accuracies")
    ]
    names += [f"eval_{name}" for name in names]
    draw = random.Random(7)
    odd = (0.0, -1.0, 1e-30, 3e38, -3e38, math.nan, math.inf, -math.inf, 0.5)
    for _ in range(200):
        some = draw.sample(names, 12)
        readings = {name: [(step, draw.choice(odd)) for step in range(draw.choice((1, 3, 15, 60)))] for name in some}
        for found in findings(method, readings, ["c"]):
            assert found.text and found.range and found.source and bool(found.remedy) == (found.level != "good")


def test_the_worst_comes_first() -> None:
    series = {"entropy": around(0.04), "completions/clipped_ratio": around(0.1), "kl": around(3.0)}
    found = findings("grpo", {name: list(enumerate(values)) for name, values in series.items()})
    assert [finding.level for finding in found] == ["bad", "watch", "good"]


@pytest.mark.parametrize(
    ("method", "series", "sentence"),
    [
        (
            "dpo", {"rewards/margins": between(0, 1.2, 0.05), "eval_rewards/accuracies": [0.5, 0.68],
                    "rewards/chosen": between(0, -0.5)},
            "learning: margin 1.1 rises, held-out accuracy 68 %; chosen log-probs fall, which is common",
        ),
        ("dpo", {"rewards/margins": around(0.01, 9.0, 60)}, "margin 0.013 is level"),
        (
            "kto", {"rewards/margins": between(0, 1.2, 0.05), "eval_rewards/margins": [0.5, 0.9]},
            "learning: margin 1.1 rises, held-out margin 0.9",
        ),
        ("reward", {"accuracy": between(0.5, 0.8), "eval_accuracy": [0.5, 0.66]},
         "learning: accuracy 78 % rises, held out 66 %"),
        ("grpo", {"reward": between(0.2, 0.6, 0.02), "eval_reward": [0.2, 0.4]}, "learning: reward 0.57 rises, held out 0.4"),
        ("rloo", {"reward": between(0.6, 0.3, 0.02)}, "trouble: reward 0.32 falls"),
        ("ppo", {"reward": [0.1, 0.2]}, "started: reward 0.15"),
        ("ppo", {}, "started: no reward yet"),
    ],
)  # fmt: skip
def test_each_method_is_told_by_the_number_that_counts(
    tmp_path: Path, method: str, series: dict[str, list[float]], sentence: str
) -> None:
    run = RunFolder.create(tmp_path, name="a", method=method, recipe={}, origins={}, command=["test"])
    run.write_status(RunStatus("running", phase="training", step=1))
    lock = take_lock(run.lock)
    assert lock is not None
    writer = EventWriter(run)
    trained = {name: values for name, values in series.items() if not name.startswith("eval_")}
    for at in range(max(map(len, trained.values()), default=1)):
        numbers = {name: values[at] for name, values in trained.items() if at < len(values)}
        writer.write("step", step=at + 1, total=60, loss=0.1, step_time_s=1.0, **numbers)
    for name, values in series.items():
        for at, value in enumerate(values if name.startswith("eval_") else ()):
            writer.write("eval", step=30 * (at + 1), **{name: value})
    assert in_words(seen(run)) == sentence
    os.close(lock)


def test_every_alarm_that_a_recipe_may_name_can_be_raised_and_methods_are_those_of_the_schema() -> None:
    by_rule = {
        "nonfinite", "loss-spike", "overfitting", "preference-accuracy", "chosen-collapse", "reward-hacking", "low-reward",
    }  # fmt: skip
    by_range = {entry.alarm for entry in ranges.RANGES}
    assert by_rule | by_range == {*get_args(schema.Alarm), "off-policy"}
    assert set(ranges.ROLLOUT) == set(schema.ROLLOUT) and set(ranges.SUPERVISED) == set(schema.SUPERVISED)


def test_health_is_standard_library_alone() -> None:
    code = "import sys; before = set(sys.modules); import trainer.runs.health; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()} - {"trainer", "recipes"}
    assert not {name for name in loaded if name not in sys.stdlib_module_names}
