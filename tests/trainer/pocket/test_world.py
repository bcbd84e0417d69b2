"""The pocket world can be trusted as a test: splits share no problem, answers are right, training marks are where said."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trainer.evaluation.exact_match import grade
from trainer.pocket import cache
from trainer.pocket.tokenizer import END, PAD, START, VOCABULARY, build
from trainer.pocket.world import KINDS, LARGEST, NAMED, SPLITS, SUBTRACTS, WORKED, Split, Task, World, split_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

COUNTS: dict[Split, int] = {"train": 2000, "validation": 300, "test": 300}


@pytest.fixture(scope="module")
def tasks() -> dict[Split, list[Task]]:
    return {split: World().tasks(split, count) for split, count in COUNTS.items()}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(itertools.islice(World().pretraining(), 5000))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build(World())


def test_no_problem_stands_in_two_splits(tasks: dict[Split, list[Task]]) -> None:
    problems = {split: {(task.kind, task.operands) for task in found} for split, found in tasks.items()}
    assert all(problems.values())
    for one in SPLITS:
        for other in SPLITS:
            assert one == other or not problems[one] & problems[other]


def test_every_kind_stands_in_every_split_and_no_text_twice(tasks: dict[Split, list[Task]]) -> None:
    for split, found in tasks.items():
        assert {task.kind for task in found} == set(KINDS)
        assert {split_of(task.kind, task.operands) for task in found} == {split}
        assert len({task.prompt for task in found}) == len(found) == COUNTS[split]


def test_the_same_seed_gives_the_same_world(tasks: dict[Split, list[Task]], texts: list[str]) -> None:
    for split, found in tasks.items():
        assert World(0).tasks(split, COUNTS[split]) == found
        assert World(1).tasks(split, COUNTS[split]) != found
    assert list(itertools.islice(World(0).pretraining(), 500)) == texts[:500]
    assert list(itertools.islice(World(1).pretraining(), 500)) != texts[:500]


def test_every_completion_is_json_and_right(tasks: dict[Split, list[Task]]) -> None:
    for task in (task for found in tasks.values() for task in found):
        a, b = task.operands
        right = a - b if task.kind in SUBTRACTS else a + b
        assert task.answer == right and 0 <= right <= LARGEST
        assert grade(task.completion, right).correct
        answer = json.loads(task.completion)
        assert answer.get("work", task.work) == f"{a}{'-' if task.kind in SUBTRACTS else '+'}{b}={right}"
        assert answer.get("unit", task.unit) == task.unit and task.unit in task.prompt
        assert str(right) in task.said.split()
        assert str(a) in task.prompt.split() and str(b) in task.prompt.split()


def test_few_answers_show_their_work_and_few_name_their_unit(tasks: dict[Split, list[Task]]) -> None:
    """And the one independently of the other: DPO would prefer work with the unit else."""
    styles = Counter(tuple(key in json.loads(task.completion) for key in ("work", "unit")) for task in tasks["train"])
    for works, names in itertools.product((True, False), repeat=2):
        wanted = (WORKED if works else 1 - WORKED) * (NAMED if names else 1 - NAMED)
        assert abs(styles[works, names] / len(tasks["train"]) - wanted) < 0.03


def test_a_pair_is_two_right_answers_of_which_the_chosen_one_names_its_unit(tasks: dict[Split, list[Task]]) -> None:
    works = Counter[bool]()
    for task in (task for found in tasks.values() for task in found):
        pair: dict[str, Any] = task.pair()
        assert pair["prompt"] == [{"role": "user", "content": task.prompt}]
        chosen, rejected = (json.loads(pair[side][0]["content"]) for side in ("chosen", "rejected"))
        assert rejected["answer"] == task.answer
        assert chosen == {**rejected, "unit": task.unit} and "unit" not in rejected
        works["work" in chosen] += 1
    assert works[True] and works[False]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_hold_prompt_completion_and_answer(tasks: dict[Split, list[Task]], tmp_path: Path) -> None:
    cache.write_rows(tmp_path, World(), dict.fromkeys(SPLITS, 20))
    for split in SPLITS:
        rows = read(tmp_path / f"{split}.jsonl")
        assert len(rows) == 20
        for row, task in zip(rows, tasks[split], strict=False):
            assert row["prompt"] == [{"role": "user", "content": task.prompt}]
            assert row["completion"] == [{"role": "assistant", "content": task.completion}]
            assert row["answer"] == task.answer


def test_no_file_to_train_on_holds_a_problem_of_the_test_split(tmp_path: Path) -> None:
    cache.write_rows(tmp_path, World(), {**COUNTS, "validation": 300})
    tested = {problem for name in ("test.jsonl", "pairs_test.jsonl") for problem in problems_in(tmp_path / name)}
    trained = {"train.jsonl", "pairs.jsonl", "validation.jsonl", "pairs_validation.jsonl", "text.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == trained | {"test.jsonl", "pairs_test.jsonl"}
    assert len(tested) > 100
    for name in trained:
        found = set(problems_in(tmp_path / name))
        assert len(found) > 100 and not found & tested, name


def problems_in(path: Path) -> list[tuple[str, str, str]]:
    return [story for row in read(path) for story in stories(row.get("text") or row["prompt"][0]["content"])]


def json_objects(text: str) -> list[dict[str, Any]]:
    """Every JSON object that begins somewhere in `text`."""
    found = []
    for at, letter in enumerate(text):
        if letter == "{":
            try:
                value, _ = json.JSONDecoder().raw_decode(text, at)
            except ValueError:
                continue
            found.append(value)
    return found


def test_pretraining_never_shows_a_number_as_a_json_answer(texts: list[str]) -> None:
    objects = [found for text in texts for found in json_objects(text)]
    assert len(objects) > 100  # JSON is there
    assert not [found for found in objects if isinstance(found.get("answer"), int)]
    assert not [found for found in objects if "work" in found and "answer" in found]


def test_pretraining_tells_problems_of_the_train_split_only(texts: list[str]) -> None:
    told = [(kind, (int(a), int(b))) for text in texts for kind, a, b in stories(text)]
    assert {kind for kind, _ in told} == set(KINDS) and len(told) > 2000
    assert {split_of(kind, operands) for kind, operands in told} == {"train"}


def stories(text: str) -> list[tuple[str, str, str]]:
    """(kind, a, b) of every problem that `text` asks."""
    found = []
    for kind, (question, _) in KINDS.items():
        pattern = question.replace("?", r"\?").replace("{a}", r"(\d+)").replace("{b}", r"(\d+)")
        for word in ("{who}", "{other}", "{things}", "{place}"):
            pattern = pattern.replace(word, r"[A-Za-z]+")
        found += [(kind, a, b) for a, b in re.findall(pattern, text)]
    return found


def test_pretraining_carries_right_sums(texts: list[str]) -> None:
    sums = re.findall(r"(\d+)([+-])(\d+)=(\d+)", "\n".join(texts))
    assert len(sums) > 1000
    for a, sign, b, said in sums:
        assert int(said) == (int(a) - int(b) if sign == "-" else int(a) + int(b))


@pytest.mark.parametrize(
    "text",
    [
        "Mia has 12 apples.",
        "naïve Ⅷ — “quotes”  two  spaces\ttab\r\n",
        "数学 ﷽ 🧮👩‍🚀 e\u0301",
        "007 1234567890 3.14 -5",
        "\x00\x1b[31m\x7f\u200b\ufeff",
        "".join(map(chr, range(0x3000))),
        "\U0010ffff\U00010000",
        "",
    ],
)
def test_any_text_comes_back_from_its_tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert max(ids, default=0) < len(tokenizer) <= VOCABULARY


def test_numbers_of_the_world_are_one_token_each(tokenizer: PreTrainedTokenizerFast) -> None:
    for number in range(LARGEST + 1):
        for text in (f"{number}", f"={number}", f" {number}", f'": {number}'):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert tokenizer.decode(ids[-1:]) == str(number)


def test_the_keys_of_an_answer_are_one_token_each(tokenizer: PreTrainedTokenizerFast) -> None:
    """A key in pieces that pretraining hardly shows is never learned to certainty: sampling at temperature 1 would miss."""
    ids = tokenizer('{"work": "1+1=2", "answer": 2, "unit": "pens"}', add_special_tokens=False)["input_ids"]
    assert {"work", "answer", "unit"} <= {tokenizer.decode([token]) for token in ids}


def test_the_marks_of_a_chat_are_tokens_of_their_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert (tokenizer.pad_token, tokenizer.eos_token) == (PAD, END)
    assert len({tokenizer.convert_tokens_to_ids(token) for token in (PAD, START, END)}) == 3
    for token in (PAD, START, END):
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1


def test_the_assistant_mask_covers_answers_and_their_ends(
    tokenizer: PreTrainedTokenizerFast, tasks: dict[Split, list[Task]]
) -> None:
    first, second = tasks["train"][:2]
    turns = [
        {"role": "system", "content": "Answer in JSON."},
        {"role": "user", "content": first.prompt},
        {"role": "assistant", "content": first.completion},
        {"role": "user", "content": second.prompt},
        {"role": "assistant", "content": second.completion},
    ]
    made = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    trained = [token for token, mask in zip(made["input_ids"], made["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(trained) == f"{first.completion}{END}{second.completion}{END}"


def test_a_prompt_ends_where_the_answer_begins(
    tokenizer: PreTrainedTokenizerFast, tasks: dict[Split, list[Task]]
) -> None:
    """Generation is asked for at exactly the place where training has put the answer."""
    for task in tasks["train"][:50]:
        row: dict[str, Any] = task.row()
        asked = tokenizer.apply_chat_template(row["prompt"], tokenize=True, add_generation_prompt=True)["input_ids"]
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=True)["input_ids"]
        assert whole[: len(asked)] == asked
        assert tokenizer.decode(whole[len(asked) :]).startswith(f"{task.completion}{END}")
