"""Prompts that a model answers itself: every layout with a question gives one, its answer and the other columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.schema import ROLLOUT, Data
from trainer.datasets.splits import Split, load_split
from trainer.errors import DatasetError

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
ASK = [{"role": "user", "content": "q"}]
TALK = [*ASK, {"role": "assistant", "content": "a"}]


def split_of(folder: Path, rows: list[Any], **data: Any) -> Split:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_split(path, None, Data(**{"eval_fraction": 0, **data}), "grpo", 0)


@pytest.mark.parametrize(
    ("row", "rest"),
    [
        ({"prompt": "q", "answer": "a", "level": 3}, {"level": 3}),
        ({"prompt": ASK, "answer": "a"}, {}),
        ({"question": "q", "answer": "a", "test": ["assert f()"]}, {"test": ["assert f()"]}),
        ({"prompt": "q", "completion": "a"}, {}),
        ({"prompt": ASK, "completion": TALK[1:]}, {}),
        ({"prompt": "q", "completion": "because: a", "answer": "a"}, {}),
        ({"instruction": "q", "input": "", "output": "a"}, {}),
        ({"messages": TALK, "level": None}, {"level": None}),
        ({"messages": ASK, "answer": "a"}, {}),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, {}),
        (
            {"data_source": "d", "prompt": ASK, "reward_model": {"style": "rule", "ground_truth": "a"}},
            {"data_source": "d"},
        ),
    ],
)
def test_every_layout_with_a_question_gives_a_prompt_and_its_answer(
    tmp_path: Path, row: dict[str, Any], rest: dict[str, Any]
) -> None:
    assert split_of(tmp_path, [row]).train == [{"prompt": ASK, "answer": "a", **rest}]


def test_a_prompt_alone_has_no_answer_and_a_number_stays_one(tmp_path: Path) -> None:
    assert split_of(tmp_path, [{"prompt": "q", "tests": "t"}]).train == [{"prompt": ASK, "answer": None, "tests": "t"}]
    assert split_of(tmp_path, [{"question": "q", "answer": 42}]).train == [{"prompt": ASK, "answer": 42}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "gold": "a", "n": 1},
        {"prompt": "q", "completion": "b", "gold": "a", "n": 1},
        {"messages": TALK, "gold": "a", "n": 1},
        {"instruction": "q", "output": "b", "gold": "a", "n": 1},
        {"question": "q", "gold": "a", "n": 1},
    ],
)
def test_the_answer_column_can_be_named(tmp_path: Path, row: dict[str, Any]) -> None:
    assert split_of(tmp_path, [row], columns={"answer": "gold"}).train == [{"prompt": ASK, "answer": "a", "n": 1}]


def test_all_rows_have_the_same_columns(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "answer": "a", **({"hint": "h"} if n else {})} for n in range(10)]
    split = split_of(tmp_path, rows, eval_fraction=0.3)
    assert {frozenset(row) for row in split.train + split.eval} == {frozenset({"prompt", "answer", "hint"})}
    assert [row["hint"] for row in split.train + split.eval].count(None) == 1


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"prompt": " ", "answer": "a"}, "prompt is empty"),
        ({"prompt": [], "answer": "a"}, "prompt is empty"),
        ({"prompt": [{"role": "user", "content": " "}], "answer": "a"}, "prompt is empty"),
        ({"prompt": "q", "answer": " "}, "answer is empty"),
        ({"prompt": "q"}, "answer is empty"),
        ({"prompt": 5, "answer": "a"}, "prompt is int, not text"),
    ],
)
def test_a_row_that_nothing_can_be_asked_or_checked_with_is_refused(
    tmp_path: Path, row: dict[str, Any], rule: str
) -> None:
    rows = [*[{"prompt": f"q{n}", "answer": "a"} for n in range(20)], row]
    with pytest.raises(DatasetError, match=rf"rows\.jsonl:21: {rule}"):
        split_of(tmp_path, rows)
    assert split_of(tmp_path, rows, untrainable="drop").train_count.dropped == {rule: 1}


@pytest.mark.skipif(not REAL.exists(), reason="the folder of real datasets is not on this machine")
@pytest.mark.parametrize(
    ("name", "layout", "rows", "columns"),
    [
        ("gsm8k/train.jsonl", "question-answer", 7473, set()),
        ("math/math500_test.json", "question-answer", 500, {"difficulty", "unique_id"}),
        ("ifeval/input_data.jsonl", "prompt", 541, {"key", "instruction_id_list", "kwargs"}),
        ("humaneval/HumanEval.jsonl.gz", "prompt", 164, {"task_id", "entry_point", "canonical_solution", "test"}),
        ("llamafactory_demo/v1_sft_demo.jsonl", "messages", 500, set()),
    ],
)
def test_real_files_give_prompts(name: str, layout: str, rows: int, columns: set[str]) -> None:
    for method in ROLLOUT:
        split = load_split(REAL / name, None, Data(eval_fraction=0), method, 0)
        assert (split.layout.format, len(split.train)) == (layout, rows)
        assert {key for row in split.train for key in row} == {"prompt", "answer"} | columns
        assert all(row["prompt"][-1]["role"] == "user" for row in split.train)
