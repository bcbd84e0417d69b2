"""Recipes on real preference pairs, real ratings and real problems, as they were published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.worker.helpers import Worked, work
from trainer.runs.rollouts import RolloutReader

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}: the real datasets are not part of the project")

SMALL = ("data.eval=none", "data.eval_fraction=0.05", "data.max_rows=24", "data.untrainable=drop")


def data_of(worked: Worked) -> dict[str, object]:
    (event,) = worked.events("data")
    return dict(event)


@pytest.mark.parametrize(
    ("recipe", "file", "evidence", "dropped"),
    [
        (
            "dpo",
            "hh_rlhf/harmless-base-test.jsonl.gz",
            "hh",
            {"chosen is empty": 4, "prompts of chosen and rejected differ": 5},
        ),
        ("dpo", "llamafactory_demo/dpo_en_demo.json", "conversations", {}),
        ("ipo", "llamafactory_demo/dpo_en_demo.json", "conversations", {}),
        ("reward-model", "hh_rlhf/harmless-base-test.jsonl.gz", "hh", {"chosen is empty": 4}),
        ("kto", "llamafactory_demo/kto_en_demo.json", "messages", {}),
    ],
)
def test_preferences(
    recipe: str, file: str, evidence: str, dropped: dict[str, int], home: Path, tiny_model: Path
) -> None:
    worked = work(home, tiny_model, recipe, f"data.train={DATA / file}", *SMALL, "training.max_length=1024")
    data = data_of(worked)
    assert evidence in str(data["evidence"])
    counted = data["dropped"]
    assert isinstance(counted, dict)
    assert {rule: counted.get(rule) for rule in dropped} == dropped
    assert sum(counted.values()) + int(str(data["train_rows"])) == data["rows_read"]
    assert int(str(data["trained_tokens"])) > 0
    assert worked.events("step")[-1]["loss"] is not None


def test_rft_on_gsm8k_with_the_numeric_reward(home: Path, tiny_model: Path) -> None:
    worked = work(
        home, tiny_model, "rft-math", f"data.train={DATA / 'gsm8k' / 'train.jsonl'}", *SMALL,
        "grpo.num_generations=4", "grpo.max_completion_length=16", "evaluation.eval_on_start=false",
    )  # fmt: skip
    assert not worked.events("warning")
    rollouts = [one for group in RolloutReader(worked.run).groups(3) for one in group.rollouts]
    assert all("want" in one.reasons["correct"] or "no answer" in one.reasons["correct"] for one in rollouts)
    assert all(one.rewards["correct"] in (0.0, 1.0) for one in rollouts)
