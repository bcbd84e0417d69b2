"""Held-out grades: what counts as which, likelihoods by hand, and the whole in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import LaunchError
from trainer.pocket.evaluate import evaluate, graded, ranked


@pytest.fixture(scope="module")
def pairs(tiny_model: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tiny_model / "pairs_test.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(tiny_model).eval(), AutoTokenizer.from_pretrained(tiny_model)


def test_each_grade_asks_for_one_thing(
    pairs: list[dict[str, Any]], loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [json.loads(pair["chosen"][0]["content"]) for pair in pairs]
    number, unit = wanted[5]["answer"], wanted[5]["unit"]
    said = [
        json.dumps(wanted[0]),
        json.dumps({"work": "1+1=2", "answer": wanted[1]["answer"]}),
        json.dumps({"answer": wanted[2]["answer"] + 1, "unit": wanted[2]["unit"]}),
        json.dumps({"answer": wanted[3]["answer"], "unit": f"{wanted[3]['unit']}, I think"}),
        json.dumps({"count": wanted[4]["answer"], "unit": wanted[4]["unit"]}),
        f'The answer is {{"answer": {number}, "unit": "{unit}"}}',
    ]
    monkeypatch.setattr("trainer.evaluation.generate.answers", lambda *_, **__: said)
    found = graded(*loaded, pairs[:6])
    assert found.valid == [True, True, True, True, False, False]
    assert found.correct == [True, True, False, True, False, False]
    assert found.named == [True, False, True, False, False, False]
    assert found.worked == ["work" in wanted[0], True, False, False, False, False]
    assert [each["completion"] for each in found.examples] == said[:4]


def test_ranks_are_those_of_the_likelihoods_one_by_one(pairs: list[dict[str, Any]], loaded: tuple[Any, Any]) -> None:
    def likelihood(pair: dict[str, Any], side: str) -> float:
        import torch

        model, tokenizer = loaded
        asked = tokenizer.apply_chat_template(pair["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        answer = tokenizer(pair[side][0]["content"] + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([asked + answer])).logits[0, len(asked) - 1 : -1]
        return sum(float(row.log_softmax(-1)[token]) for row, token in zip(logits, answer, strict=True))

    # An untrained model finds the shorter answer likelier: sides are turned round for some, so that both verdicts are met.
    turned = [
        {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} if at % 3 else pair
        for at, pair in enumerate(pairs)
    ]
    expected = [likelihood(pair, "chosen") > likelihood(pair, "rejected") for pair in turned]
    assert ranked(*loaded, turned) == expected
    assert {True, False} == set(expected)


def test_a_model_is_graded_in_a_process_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    found = evaluate(tiny_model, tiny_model / "pairs_test.jsonl", tmp_path / "out.json")
    assert len(found.correct) == len(found.ranked) == 40
    assert not any(found.valid) and not any(found.ranked)  # it is untrained
    assert len(found.examples) == 4


def test_an_evaluation_that_fails_says_why(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="nowhere"):
        evaluate(tiny_model, tmp_path / "nowhere.jsonl", tmp_path / "out.json")
