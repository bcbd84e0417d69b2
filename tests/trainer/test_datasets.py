"""Rows are opened, recognised, converted and counted; what is broken is named with its file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from recipes.schema import Data
from trainer.datasets.reading import read_rows
from trainer.datasets.splits import Count, converted, layout_of, load_split
from trainer.errors import DatasetError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
QA = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(50)]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "columns.json", "parquet", "csv", "tsv", "folder"])
def test_the_same_rows_come_out_of_every_container(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        write(path, QA)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in QA).encode()))
    elif kind == "json":
        path.write_text(json.dumps(QA, indent=1))
    elif kind == "columns.json":
        path.write_text(json.dumps({k: {str(i): row[k] for i, row in enumerate(QA)} for k in QA[0]}))
    elif kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(QA), path)
    elif kind in ("csv", "tsv"):
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(QA[0]), delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(QA)
    else:
        path.mkdir()
        write(path / "0.jsonl", QA[:20])
        write(path / "1.jsonl", QA[20:])
    assert [row.fields for row in read_rows(path)] == QA


@pytest.mark.parametrize(
    ("row", "name", "form"),
    [
        ({"text": "hello"}, "text", {"text": "hello"}),
        (
            {"question": "q", "answer": "a"},
            "question-answer",
            {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
        ),
        (
            {"instruction": "i", "input": "x", "output": "o", "history": [["p", "r"]]},
            "alpaca",
            {
                "prompt": [
                    {"role": "user", "content": "p"},
                    {"role": "assistant", "content": "r"},
                    {"role": "user", "content": "i\nx"},
                ],
                "completion": [{"role": "assistant", "content": "o"}],
            },
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
            "sharegpt",
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                ]
            },
        ),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            "messages",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        ),
        (
            {"prompt": "q", "completion": "a"},
            "prompt-completion",
            {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
        ),
    ],
)
def test_layouts_are_recognised_and_converted(
    tmp_path: Path, row: dict[str, Any], name: str, form: dict[str, Any]
) -> None:
    path = write(tmp_path / "rows.jsonl", [row])
    layout = layout_of(path, Data(), "sft")
    assert layout.format == name
    assert [example for _, example in converted(path, layout, Data(), Count())] == [form]


def test_columns_can_be_named_and_a_system_message_given(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"frage": "q", "antwort": "a"}])
    data = Data(columns={"question": "frage", "answer": "antwort"}, system="be brief")
    (row,) = load_split(path, path, data, "sft", 0).train
    assert [turn["content"] for turn in row["prompt"] + row["completion"]] == ["be brief", "q", "a"]


def test_counts_close_and_the_held_out_rows_are_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*QA, {"question": "x", "answer": ""}])
    split = load_split(path, None, Data(eval_fraction=0.2, untrainable="drop", max_rows=30), "sft", 7)
    assert split.train_count.read == split.train_count.kept + sum(split.train_count.dropped.values()) == 41
    assert split.train_count.dropped == {"answer is empty": 1, "beyond data.max_rows": 10}
    assert len(split.train) == 30 and len(split.eval) == 10
    assert not [row for row in split.train if row in split.eval]
    again = load_split(path, None, Data(eval_fraction=0.2, untrainable="drop", max_rows=30), "sft", 7)
    assert again == split


def test_a_row_that_teaches_nothing_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*QA[:3], {"question": "x", "answer": " "}])
    with pytest.raises(DatasetError, match=r"rows\.jsonl:4: answer is empty") as error:
        load_split(path, None, Data(), "sft", 0)
    assert "data.untrainable=drop" in error.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b'{"text": "a"}\n\xff\n', "a.jsonl:2 is not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "a.jsonl:2 is a JSON list"),
        ("a.jsonl", b'{"text": "a\x00"}\n', "a.jsonl:1 has a NUL byte"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid", "a.jsonl:1 is a Git LFS pointer"),
        ("a.json", b"<!DOCTYPE html><html>", "a.json:1 is an HTML page"),
        ("a.json", b'[{"text": "a"},\n{"text"', "a.json:2 is not JSON"),
        ("a.parquet", b"PAR1 not really", "is not a Parquet file"),
        ("a.csv", b"text,n\nhello\n", "a.csv:2 has 1 fields, the header has 2"),
        ("a.pickle", b"x", "unknown kind of file"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 100)[:-20], "cannot be read"),
        ("a.jsonl", b'{"colour": "red"}\n', "nothing that can be trained on"),
        (
            "a.jsonl",
            b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n',
            "this is preference pairs (prompt, chosen, rejected)",
        ),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError) as error:
        load_split(path, None, Data(eval_fraction=0), "sft", 0)
    assert message in error.value.message
    assert str(path) in error.value.message


def test_plain_text_is_what_continued_pretraining_takes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cpt trains on text"):
        layout_of(write(tmp_path / "a.jsonl", QA), Data(), "cpt")
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")
    assert [row["text"] for row in load_split(tmp_path / "b.txt", None, Data(eval_fraction=0), "cpt", 0).train] == [
        "one",
        "two",
    ]


@pytest.mark.skipif(not REAL.exists(), reason="the folder of real datasets is not on this machine")
@pytest.mark.parametrize(
    ("name", "layout", "rows"),
    [
        ("gsm8k/train.jsonl", "question-answer", 7473),
        ("llamafactory_demo/alpaca_en_demo.json", "alpaca", 999),
        ("llamafactory_demo/glaive_toolcall_en_demo.json", "sharegpt", 300),
        ("llamafactory_demo/v1_sft_demo.jsonl", "messages", 500),
        ("llamafactory_demo/c4_demo.jsonl", "text", 300),
        ("fastchat/dummy_conversation.json", "sharegpt", 500),
    ],
)
def test_real_files_are_recognised_whole(name: str, layout: str, rows: int) -> None:
    found = layout_of(REAL / name, Data(), "sft")
    count = Count()
    usable = sum(1 for _ in converted(REAL / name, found, Data(), count))
    assert (found.format, usable) == (layout, rows)
