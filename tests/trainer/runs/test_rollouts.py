"""Rollouts as the reader gives them: real files of TRL, groups, torn and growing folders, search, hostile text."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.rollout_files import file_of, log_step, run_by_rewards
from trainer.errors import RunError
from trainer.runs.folder import RunFolder, RunStatus
from trainer.runs.rollouts import Hit, RolloutReader, ordered, why_none

TWO_GROUPS = [("2+2", "4", 1.0, 0.0), ("2+2", "5", 0.0, -1.0), ("3+3", "6", 1.0, 0.0), ("3+3", "six", 1.0, 0.0)]


def test_a_step_has_groups_with_totals_spread_and_reasons(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    log_step(run, 7, TWO_GROUPS)
    first, second = RolloutReader(run).groups(7)
    assert (first.step, first.index, first.prompt, second.index, second.prompt) == (7, 0, "2+2", 1, "3+3")
    best, worst = first.rollouts
    assert best.rewards == {"correct": 1.0, "short": 0.0} and best.reasons == {"correct": "4 against the answer"}
    assert (best.total, worst.total, worst.advantage) == (1.0, -0.5, -1.0)  # short weighs a half
    assert first.mean == 0.25 and first.spread == pytest.approx(1.5 / 2**0.5) and not first.flat
    assert second.flat and second.lesson == "no variance"


def test_what_was_not_scored_is_none_and_comes_last(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path, generations=3)
    log_step(run, 1, [("a", "none", None, None), ("a", "low", None, -1.0), ("a", "high", float("inf"), 0.0)])
    (group,) = RolloutReader(run).groups(1)
    assert group.rollouts[0].total is None and group.rollouts[1].rewards == {"correct": None, "short": -1.0}
    assert group.rollouts[2].rewards["correct"] is None  # no number of JSON's
    assert ordered(group, "reward") == [2, 1, 0] and ordered(group, "position") == ordered(group, "advantage") == [
        0,
        1,
        2,
    ]
    assert group.totals == [-0.5, 0.0]


def test_a_prompt_drawn_twice_makes_two_groups_and_a_cut_one_is_cut_in_front(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path, generations=2)
    log_step(run, 1, [("a", str(number), 1.0, 0.0) for number in range(5)] + [("b", "5", 1.0, 0.0)])
    groups = RolloutReader(run).groups(1)
    assert [[one.completion for one in group.rollouts] for group in groups] == [["0"], ["1", "2"], ["3", "4"], ["5"]]
    assert [group.index for group in groups] == [0, 1, 2, 3]


def test_messages_are_told_as_text(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path, generations=1)
    asked = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2+2?"}]
    log_step(run, 1, [(asked, [{"role": "assistant", "content": "4"}], 1.0, 0.0)])
    (group,) = RolloutReader(run).groups(1)
    assert group.prompt == "system: be brief\n\nuser: 2+2?" and group.asked == "2+2?"
    assert group.rollouts[0].completion == "4"


def test_a_torn_file_is_said_passed_over_and_read_when_it_is_whole(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    log_step(run, 1, TWO_GROUPS)
    log_step(run, 2, TWO_GROUPS)
    whole = file_of(run, 2).read_bytes()
    reader = RolloutReader(run)
    for torn in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-1], b"x" * 5000, whole[:200] + whole[220:]):
        file_of(run, 2).write_bytes(torn)
        with pytest.raises(RunError, match="step 2 cannot be read"):
            reader.groups(2)
        assert reader.torn == {2} and reader.newest()[0] == 1
        assert {hit.step for hit in reader.search("six")} == {1}
    file_of(run, 2).write_bytes(whole)
    assert reader.newest()[0] == 2 and not reader.torn


def test_other_columns_than_trls_are_an_error_that_says_so(tmp_path: Path) -> None:
    import pandas as pd

    run = run_by_rewards(tmp_path)
    file_of(run, 1).parent.mkdir()
    pd.DataFrame({"step": [1], "text": ["x"]}).to_parquet(file_of(run, 1))
    with pytest.raises(RunError):
        RolloutReader(run).groups(1)


def test_steps_grow_and_a_step_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    reader = RolloutReader(run)
    assert reader.steps() == []
    for step in (1, 20, 100_000):
        log_step(run, step, TWO_GROUPS)
        assert reader.steps()[-1] == step and reader.newest()[0] == step
    before = reader.groups(1)
    assert reader.groups(1) is before
    log_step(run, 1, TWO_GROUPS[:2])
    assert len(reader.groups(1)) == 1
    for step in range(200, 220):
        log_step(run, step, TWO_GROUPS)
        reader.groups(step)
    assert len(reader._kept) <= 8


def test_listing_thousands_of_steps_opens_none(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    file_of(run, 1).parent.mkdir()
    for step in range(1, 5001):
        file_of(run, step).write_bytes(b"torn")
    (file_of(run, 1).parent / ".completions_00001.parquet.tmp").touch()
    reader = RolloutReader(run)
    start = time.monotonic()
    assert reader.steps() == list(range(1, 5001))
    assert time.monotonic() - start < 1
    assert not reader.torn


def test_steps_of_an_attempt_that_a_resume_went_behind_are_not_shown(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    for step in range(1, 11):
        log_step(run, step, TWO_GROUPS)
        os.utime(file_of(run, step), (1000 + step, 1000 + step))
    run.write_status(RunStatus("running", step=6, attempt=2, started_at=2000.0))  # resumed from step 5
    assert RolloutReader(run).steps() == [1, 2, 3, 4, 5, 6]
    log_step(run, 7, TWO_GROUPS)  # the status may be a second behind
    assert RolloutReader(run).steps() == [1, 2, 3, 4, 5, 6, 7]


def test_search_finds_in_every_step_the_newest_first(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    log_step(run, 1, TWO_GROUPS)
    log_step(run, 2, TWO_GROUPS)
    reader = RolloutReader(run)
    assert list(reader.search("SIX")) == [Hit(2, 1, 1), Hit(1, 1, 1)]
    assert list(reader.search("2+2", [1])) == [Hit(1, 0, 0)]  # the prompt of both, told once
    assert next(reader.search("against the answer")) == Hit(2, 0, 0)
    assert list(reader.search("seven")) == []


def test_a_run_without_rollouts_says_why(tmp_path: Path) -> None:
    sft = RunFolder.create(tmp_path, name="a", method="sft", recipe={"rewards": {}}, origins={}, command=["x"])
    assert why_none(sft) == "a sft run generates none: it learns from rows, not from rewards"
    run = run_by_rewards(tmp_path)
    assert why_none(run) == "it has logged none yet"
    with pytest.raises(RunError, match="has logged none yet"):
        RolloutReader(run).newest()
    with pytest.raises(RunError, match="no rollouts of step 3"):
        RolloutReader(run).groups(3)
    log_step(run, 1, TWO_GROUPS)
    assert why_none(run) == ""
    with pytest.raises(RunError) as caught:
        RolloutReader(run).groups(3)
    assert "nearest: 1" in caught.value.hint
    file_of(run, 1).write_bytes(b"")
    with pytest.raises(RunError, match="every file is torn"):
        RolloutReader(run).newest()


def test_reading_loads_neither_pandas_nor_torch(tmp_path: Path) -> None:
    run = run_by_rewards(tmp_path)
    log_step(run, 1, TWO_GROUPS)
    code = (
        "import sys; from pathlib import Path; from trainer.runs.folder import RunFolder\n"
        "from trainer.runs.rollouts import RolloutReader; assert 'pyarrow' not in sys.modules\n"
        f"assert len(RolloutReader(RunFolder(Path({str(run.path)!r}))).groups(1)) == 2\n"
        "print(*{'pandas', 'torch', 'datasets', 'textual'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_files_of_trls_own_trainer_are_read(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def length(completions: list[Any], log_extra: Any, **_: Any) -> list[float]:
        texts = [turns[0]["content"] for turns in completions]
        log_extra("reason:length", [f"{len(text)} characters" for text in texts])
        return [float(len(text)) for text in texts]

    def never(completions: list[Any], **_: Any) -> list[None]:
        return [None] * len(completions)

    run = run_by_rewards(tmp_path, generations=4, rewards={"length": {"weight": 2.0}, "never": {}})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = GRPOConfig(
        output_dir=str(run.checkpoints), max_steps=2, per_device_train_batch_size=4, gradient_accumulation_steps=2,
        num_generations=4, max_completion_length=8, logging_steps=1, log_completions=True, num_completions_to_print=0,
        report_to="none", use_cpu=True, bf16=False, disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    rows = [{"prompt": [{"role": "user", "content": f"what is {n} plus {n}?"}]} for n in range(8)]
    GRPOTrainer(str(tiny_model), [length, never], args=config, train_dataset=Dataset.from_list(rows)).train()
    torch.set_num_threads(threads)

    reader = RolloutReader(run)
    assert reader.steps() == [1, 2]
    for step in (1, 2):
        groups = reader.groups(step)
        assert [len(group.rollouts) for group in groups] == [4, 4] and len({group.prompt for group in groups}) == 2
        for group in groups:
            assert group.prompt.startswith("what is ")  # the dataset's own, no template and no special token
            for one in group.rollouts:
                assert one.rewards == {"length": len(one.completion), "never": None}
                assert one.reasons == {"length": f"{len(one.completion)} characters"}
                assert one.total == 2.0 * len(one.completion)
            assert sum(one.advantage or 0 for one in group.rollouts) == pytest.approx(0, abs=1e-3)
            assert ordered(group, "reward") == ordered(group, "advantage") or group.flat
