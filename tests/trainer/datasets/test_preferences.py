"""Pairs and labelled answers in every dialect become TRL's own form; what teaches nothing is counted by its rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.schema import Data, Method
from trainer.datasets.splits import Count, Split, converted, layout_of, load_split
from trainer.errors import DatasetError

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
HH = "hh_rlhf/harmless-base-test.jsonl.gz"
ALL = Data(eval_fraction=0, max_eval_rows=None)
DROP = ALL.model_copy(update={"untrainable": "drop"})


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def says(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def split_of(folder: Path, rows: list[Any], method: Method = "dpo", data: Data = ALL) -> Split:
    return load_split(write(folder / "rows.jsonl", rows), None, data, method, 0)


PAIR = {"prompt": [user("q")], "chosen": [says("good")], "rejected": [says("bad")]}
PAIRS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a prompt and two answers", {"prompt": "q", "chosen": "good", "rejected": "bad"}, PAIR),
    ("a conversation and two answers", PAIR, PAIR),
    ("whole conversations", {"chosen": [user("q"), says("good")], "rejected": [user("q"), says("bad")]}, PAIR),
    (  # UltraFeedback
        "whole conversations",
        {"prompt": "q", "chosen": [user("q"), says("good")], "rejected": [user("q"), says("bad")], "score_chosen": 8.5},
        PAIR,
    ),
    (  # the prompt again in one side only
        "a conversation and two answers",
        {"prompt": [user("q")], "chosen": [says("good")], "rejected": [user("q"), says("bad")]},
        PAIR,
    ),
    (
        "hh-rlhf transcripts",
        {
            "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: two\n\nlines\n\nAssistant: good\n\nNote: yes",
            "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: two\n\nlines\n\nAssistant: bad",
        },
        {
            "prompt": [user("a"), says("b"), user("two\n\nlines")],
            "chosen": [says("good\n\nNote: yes")],
            "rejected": [says("bad")],
        },
    ),
    (  # two turns of one role in a row are joined: many templates refuse them
        "hh-rlhf transcripts",
        {
            "chosen": "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: q\n\nAssistant: good",
            "rejected": "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: q\n\nAssistant: bad",
        },
        {**PAIR, "prompt": [user("a"), says("b\n\nc"), user("q")]},
    ),
    (
        "a prompt and two answers",
        {"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: q\n\nAssistant:", "chosen": "good", "rejected": "bad"},
        {**PAIR, "prompt": [user("a"), says("b"), user("q")]},
    ),
    (  # LLaMA-Factory
        "a conversation and two answers",
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        PAIR,
    ),
    (
        "an instruction and two answers",
        {"instruction": "i", "input": "x", "chosen": "good", "rejected": "bad"},
        {**PAIR, "prompt": [user("i\nx")]},
    ),
    ("a prompt and two answers", {"input": "q", "chosen_response": "good", "rejected_response": "bad"}, PAIR),
    (
        "a prompt and two answers",
        {"system": "s", "question": "q", "chosen": "good", "rejected": "bad"},
        {**PAIR, "prompt": [{"role": "system", "content": "s"}, user("q")]},
    ),
    (
        "whole conversations",
        {"system": "s", "chosen": [user("q"), says("good")], "rejected": [user("q"), says("bad")]},
        {**PAIR, "prompt": [{"role": "system", "content": "s"}, user("q")]},
    ),
    (
        "two outputs and the number of the better one",
        {"input": "q", "output_1": "bad", "output_2": "good", "label": 2},
        PAIR,
    ),
    (
        "two outputs and the number of the better one",
        {"instruction": "q", "output_1": "good", "output_2": "bad", "preference": 1.0},
        PAIR,
    ),
]


@pytest.mark.parametrize(("dialect", "row", "form"), PAIRS)
def test_pairs_of_every_dialect_become_prompt_chosen_rejected(
    tmp_path: Path, dialect: str, row: dict[str, Any], form: dict[str, Any]
) -> None:
    for method in ("dpo", "reward"):
        split = split_of(tmp_path, [row], method)
        assert split.layout.format == "preference"
        assert split.layout.evidence.endswith(dialect)
        assert split.train == [form]


def test_columns_of_pairs_can_be_named_and_tools_and_a_system_message_stay(tmp_path: Path) -> None:
    row = {"frage": "q", "gut": "good", "schlecht": "bad", "tools": '[{"name": "t"}]', "other": 1}
    data = ALL.model_copy(
        update={"columns": {"prompt": "frage", "chosen": "gut", "rejected": "schlecht"}, "system": "s"}
    )
    prompt = [{"role": "system", "content": "s"}, user("q")]
    assert split_of(tmp_path, [row], data=data).train == [{**PAIR, "prompt": prompt, "tools": [{"name": "t"}]}]


def test_an_answer_may_call_a_tool_before_it_is_given(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "t"}}]}
    good = [call, {"role": "tool", "content": "42"}, says("42")]
    (row,) = split_of(tmp_path, [{"prompt": "q", "chosen": good, "rejected": "bad"}]).train
    assert row["chosen"] == good


GOOD = {"prompt": "other", "chosen": "good", "rejected": "bad"}
FUTILE = [
    ({"prompt": "q", "chosen": "a", "rejected": "a "}, "chosen and rejected are the same"),
    ({"prompt": "", "chosen": [user("q"), says("a")], "rejected": [user("q"), says("a")]}, "chosen and rejected are the same"),
    (
        {"prompt": "", "chosen": [user("q"), says("a")], "rejected": [user("r"), says("b")]},
        "prompts of chosen and rejected differ",
    ),
    (  # one goes on where the other ends: neither side is left empty, and they answer different turns
        {"prompt": "", "chosen": [user("q"), says("a")], "rejected": [user("q"), says("a"), user("r"), says("b")]},
        "prompts of chosen and rejected differ",
    ),
]  # fmt: skip
BROKEN = [
    ({"prompt": "q", "chosen": " \n", "rejected": "b"}, "chosen is empty"),
    ({"prompt": "q", "chosen": "a", "rejected": None}, "rejected is empty"),
    ({"prompt": "q", "chosen": "a", "rejected": []}, "rejected is empty"),
    ({"prompt": "q", "chosen": [user("q"), says(" ")], "rejected": [user("q"), says("b")]}, "chosen is empty"),
    ({"prompt": "\t", "chosen": "a", "rejected": "b"}, "prompt is empty"),
    ({"prompt": [], "chosen": "a", "rejected": "b"}, "prompt is empty"),
    ({"prompt": "q", "chosen": 5, "rejected": "b"}, "chosen is int, not text"),
    ({"prompt": "q", "chosen": ["a"], "rejected": "b"}, "a turn has no role"),
    ({"prompt": "q", "chosen": [{"role": "user", "content": [{"type": "image"}]}], "rejected": "b"},
     "a turn's content is not text"),
    ({"prompt": "q", "chosen": "a\ud800", "rejected": "b"}, "text has a lone surrogate"),
    ({"chosen": "a", "rejected": "b"}, "prompt is empty"),
    ({"chosen": [user(" "), says("a")], "rejected": [user(" "), says("b")]}, "prompt is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "rule"), FUTILE)
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_pair_that_teaches_nothing_is_dropped_and_counted(
    tmp_path: Path, row: dict[str, Any], rule: str, method: Method
) -> None:
    split = split_of(tmp_path, [GOOD, row], method)
    rows = 2 if method == "kto" else 1
    assert split.train_count.dropped == {rule: rows}
    assert split.train_count.read == split.train_count.kept + rows == 2 * rows
    with pytest.raises(DatasetError, match=rf"rows\.jsonl:2: {rule}"):
        split_of(tmp_path, [GOOD, row], method, ALL.model_copy(update={"untrainable": "refuse"}))


@pytest.mark.parametrize(("row", "rule"), BROKEN)
def test_a_broken_pair_is_refused_with_its_line_or_dropped_where_asked(
    tmp_path: Path, row: dict[str, Any], rule: str
) -> None:
    with pytest.raises(DatasetError, match=rf"rows\.jsonl:2: {rule}") as error:
        split_of(tmp_path, [GOOD, row])
    assert "data.untrainable=drop" in error.value.hint
    assert split_of(tmp_path, [GOOD, row], data=DROP).train_count.dropped == {rule: 1}


def test_answers_without_a_prompt_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="chosen and rejected are answers without a prompt"):
        split_of(tmp_path, [{"chosen": "a", "rejected": "b"}])


@pytest.mark.parametrize("label", [0, 3, "A", True])
def test_a_label_that_names_no_output_is_refused(tmp_path: Path, label: Any) -> None:
    rows = [{"input": "q", "output_1": "a", "output_2": "b", "label": one} for one in (1, 1.5, label)]
    with pytest.raises(DatasetError, match=r"rows\.jsonl:3: label is neither 1 nor 2"):
        split_of(tmp_path, rows)
    dropped = split_of(tmp_path, rows, data=DROP).train_count.dropped
    assert dropped == {"neither output is preferred": 1, "label is neither 1 nor 2": 1}


GRADED = {"prompt": [user("q")], "completion": [says("a")]}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"prompt": "q", "completion": "a", "label": True}, {"prompt": "q", "completion": "a", "label": False}),
        ({"prompt": "q", "completion": "a", "label": 1}, {"prompt": "q", "completion": "a", "label": 0}),
        ({"prompt": "q", "completion": "a", "label": "True"}, {"prompt": "q", "completion": "a", "label": "false"}),
        ({**GRADED, "label": True}, {**GRADED, "label": False}),
        (
            {"messages": [user("q"), says("a")], "label": True},
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": False},
        ),
        (
            {"instruction": "q", "input": "", "output": "a", "kto_tag": True},
            {"question": "q", "answer": "a", "is_correct": False},
        ),
        (
            {"question": "q", "6b": {"solution": "a", "is_correct": True}},
            {"question": "q", "6b": {"solution": "a", "is_correct": False}},
        ),
    ],
)
def test_labelled_answers_of_every_dialect_become_prompt_completion_label(
    tmp_path: Path, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    for row, label in ((good, True), (bad, False)):
        path = write(tmp_path / "rows.jsonl", [row])
        layout = layout_of(path, ALL, "kto")
        assert layout.format == "unpaired"
        assert [example for _, example in converted(path, layout, ALL, Count())] == [{**GRADED, "label": label}]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"prompt": "q", "completion": "a", "label": "maybe"}, "label is neither true nor false"),
        ({"prompt": "q", "completion": "a", "label": None}, "label is neither true nor false"),
        ({"prompt": " ", "completion": "a", "label": True}, "prompt is empty"),
        ({"prompt": "q", "completion": "", "label": True}, "completion is empty"),
        (
            {"prompt": "q", "completion": [user("q"), says("a")], "label": True},
            "completion does not begin with an answer",
        ),
    ],
)
def test_a_broken_labelled_answer_is_refused_with_its_line(tmp_path: Path, row: dict[str, Any], rule: str) -> None:
    whole = [{"prompt": "q", "completion": str(label), "label": label} for label in (True, False)]
    with pytest.raises(DatasetError, match=rf"rows\.jsonl:3: {rule}"):
        split_of(tmp_path, [*whole, row], "kto")
    assert split_of(tmp_path, [*whole, row], "kto", DROP).train_count.dropped == {rule: 1}


def test_labels_that_are_all_the_same_are_refused(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": "a", "label": True} for n in range(3)]
    with pytest.raises(DatasetError, match="all 3 labels are true: there is nothing to tell apart"):
        split_of(tmp_path, rows, "kto")
    assert split_of(tmp_path, [*rows, {**rows[0], "label": False}], "kto").facts == {"desirable": 3, "undesirable": 1}


def test_a_pair_becomes_a_good_and_a_bad_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{**GOOD, "prompt": name, "tools": [{"name": "t"}]} for name in "pq"])
    layout, count = layout_of(path, ALL, "kto"), Count()
    rows = [example for _, example in converted(path, layout, ALL, count)]
    assert [(row["prompt"][0]["content"], row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("p", "good", True), ("p", "bad", False), ("q", "good", True), ("q", "bad", False),
    ]  # fmt: skip
    assert all(row["tools"] == [{"name": "t"}] for row in rows)
    assert (count.read, count.kept) == (4, 4)


@pytest.mark.parametrize("method", ["dpo", "kto", "grpo"])
def test_rows_of_one_prompt_are_never_trained_on_and_held_out_at_once(tmp_path: Path, method: Method) -> None:
    pairs = [{"prompt": f"q{n // 3}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(150)]
    rows = [{"prompt": row["prompt"], "answer": row["chosen"]} for row in pairs] if method == "grpo" else pairs
    split = split_of(tmp_path, rows, method, Data(eval_fraction=0.2))
    train, held_out = ({row["prompt"][0]["content"] for row in side} for side in (split.train, split.eval))
    assert len(held_out) == 10 and not train & held_out
    assert len(split.train) + len(split.eval) == 150 * (2 if method == "kto" else 1)
    for count, side in ((split.train_count, split.train), (split.eval_count, split.eval)):
        assert count.read == count.kept == len(side)


def test_rows_of_kto_are_mixed_by_the_seed_so_that_neighbours_answer_different_prompts(tmp_path: Path) -> None:
    pairs = [{**GOOD, "prompt": f"q{n}"} for n in range(200)]
    split = split_of(tmp_path, pairs, "kto")
    same = sum(one["prompt"] == other["prompt"] for one, other in zip(split.train, split.train[1:], strict=False))
    assert same < 10  # in the order of the file it is 200
    assert sum(row["label"] for row in split.train[:100]) in range(30, 70)
    assert split == split_of(tmp_path, pairs, "kto")


@pytest.mark.parametrize(
    ("method", "row", "message"),
    [
        ("dpo", {"question": "q", "answer": "a"},
         "dpo trains on preference pairs (prompt, chosen, rejected), this is question-answer"),
        ("kto", {"text": "t"}, "or preference pairs (prompt, chosen, rejected), this is text"),
        ("grpo", GOOD, "this is preference pairs (prompt, chosen, rejected)"),
        ("grpo", {"prompt": "q", "completion": "a", "label": True}, "this is labelled answers"),
        ("sft", {"prompt": "q", "completion": "a", "label": True}, "this is labelled answers"),
        ("dpo", {"prompt": "q"}, "this is prompts (prompt, answer)"),
    ],
)  # fmt: skip
def test_rows_for_another_method_are_refused_by_name(
    tmp_path: Path, method: Method, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError) as error:
        split_of(tmp_path, [row], method)
    assert message in error.value.message


def test_sft_says_which_recipes_take_pairs(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        split_of(tmp_path, [{**GOOD, "messages": [user("q"), says("a")]}], "sft")
    assert "pick a recipe whose method takes them: dpo or reward or kto" in error.value.hint


def test_answers_among_pairs_are_not_imitated(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "a"}, {"question": "q", "answer": "a", "chosen": "a", "rejected": "b"}]
    with pytest.raises(DatasetError, match="nothing that can be trained on in the first 2 rows"):
        split_of(tmp_path, rows, "sft")


@pytest.mark.skipif(not REAL.exists(), reason="the folder of real datasets is not on this machine")
@pytest.mark.parametrize(
    ("name", "kept", "dropped"),
    [
        (HH, 2303, {"chosen is empty": 4, "prompts of chosen and rejected differ": 5}),
        ("llamafactory_demo/dpo_en_demo.json", 300, {}),
        ("llamafactory_demo/dpo_zh_demo.json", 300, {}),
        ("llamafactory_demo/v1_dpo_demo.jsonl", 10, {}),
        ("llmbar/LLMBar-Natural-dataset.json", 100, {}),
        ("llmbar/LLMBar-Adversarial-Neighbor-dataset.json", 134, {}),
        (
            "llmbar/Processed-LLMEval^2-dataset.json",
            198,
            {"chosen and rejected are the same": 1, "rejected is empty": 1},
        ),
        ("torchtune_tiny/hh_rlhf_tiny.json", 1, {}),
        ("torchtune_tiny/stack_exchange_paired_tiny.json", 25, {}),
    ],
)
def test_real_pairs_are_counted_whole(name: str, kept: int, dropped: dict[str, int]) -> None:
    split = load_split(REAL / name, None, DROP, "dpo", 0)
    assert (len(split.train), split.train_count.dropped) == (kept, dropped)
    for row in split.train:
        roles = [turn["role"] for turn in row["prompt"] if turn["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        assert row["chosen"][-1]["role"] == row["rejected"][-1]["role"] == "assistant"
        assert row["chosen"] != row["rejected"]


@pytest.mark.skipif(not REAL.exists(), reason="the folder of real datasets is not on this machine")
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("llamafactory_demo/kto_en_demo.json", {"desirable": 150, "undesirable": 150}),
        ("gsm8k/example_model_solutions.jsonl", {"desirable": 2001, "undesirable": 3275}),
        (HH, {"desirable": 2303, "undesirable": 2303}),
    ],
)
def test_real_labels_are_counted_whole(name: str, facts: dict[str, int]) -> None:
    split = load_split(REAL / name, None, DROP, "kto", 0)
    assert split.facts == facts
    assert split.train_count.kept == len(split.train) == sum(facts.values())
    assert split.train_count.read == split.train_count.kept + sum(split.train_count.dropped.values())


@pytest.mark.skipif(not REAL.exists(), reason="the folder of real datasets is not on this machine")
def test_the_prompt_and_the_two_answers_are_those_that_trl_finds() -> None:
    """TRL's helpers are the oracle where they are right: whole turns, sides that differ and are not empty."""
    from datasets import Dataset
    from trl import extract_prompt
    from trl.data_utils import unpair_preference_dataset

    pairs = load_split(REAL / HH, None, DROP, "dpo", 0).train
    for row in pairs:
        assert extract_prompt({side: row["prompt"] + row[side] for side in ("chosen", "rejected")}) == row
    theirs = unpair_preference_dataset(Dataset.from_list(pairs)).to_list()
    ours = load_split(REAL / HH, None, DROP, "kto", 0).train
    assert sorted(json.dumps(row, sort_keys=True) for row in ours) == sorted(
        json.dumps(row, sort_keys=True) for row in theirs
    )
