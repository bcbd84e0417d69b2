"""Every kind of reward that scores one completion by itself: right, wrong, and in words why."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from pydantic import TypeAdapter

from recipes.rewards import Reward
from trainer.rewards.kinds import score_one
from trainer.rewards.score import Score


def score(block: dict[str, Any], completion: str, value: Any = None) -> Score:
    reward = TypeAdapter[Any](Reward).validate_python(block)
    return score_one(reward.kind, reward, completion, value)


MATCH = {"kind": "match"}


@pytest.mark.parametrize(
    ("settings", "completion", "answer", "told"),
    [
        ({}, " The  Eiffel tower. ", "eiffel Tower", Score(1.0, "got The  Eiffel tower.")),
        ({}, "“A cat!”", "cat", Score(1.0, "got “A cat!”")),
        ({}, "ﬁne", "FINE", Score(1.0, "got ﬁne")),
        ({}, "A", "a", Score(1.0, "got A")),
        ({}, "B", "A", Score(0.0, "got B, want A")),
        ({}, "-5", "5", Score(0.0, "got -5, want 5")),
        ({}, "C#", "C", Score(0.0, "got C#, want C")),
        ({}, "", "cat", Score(0.0, "got nothing, want cat")),
        ({}, "dog", ["cat", "Dog"], Score(1.0, "got dog")),
        ({}, "cow", ["cat", "dog"], Score(0.0, "got cow, want cat or dog")),
        ({"normalise": False}, "Cat", "cat", Score(0.0, "got Cat, want cat")),
        ({"normalise": False}, "cat", "cat", Score(1.0, "got cat")),
        ({"extract": "<a>(.*?)</a>"}, "<a>dog</a> no: <a>cat</a>", "cat", Score(1.0, "got cat")),
        ({"extract": "<a>(.*?)</a>"}, "cat", "cat", Score(0.0, "`extract` matches nothing")),
        ({}, "cat", None, Score(None, "the row has no `answer`")),
        ({}, "\x1b[2Jdog", "cat", Score(0.0, "got �[2Jdog, want cat")),
    ],
)
def test_match(settings: dict[str, Any], completion: str, answer: Any, told: Score) -> None:
    assert score(MATCH | settings, completion, answer) == told


@pytest.mark.parametrize(
    ("settings", "completion", "told"),
    [
        ({"pattern": r"\d+"}, "in 1969", Score(1.0, "the pattern matches")),
        ({"pattern": r"\d+"}, "never", Score(0.0, "the pattern does not match")),
        ({"pattern": r"a.*b"}, "a\nb", Score(1.0, "the pattern matches")),
        ({"pattern": r"\d+", "full": True}, "1969", Score(1.0, "the pattern matches")),
        ({"pattern": r"\d+", "full": True}, "in 1969", Score(0.0, "the pattern does not match all of it")),
    ],
)
def test_regex(settings: dict[str, Any], completion: str, told: Score) -> None:
    assert score({"kind": "regex"} | settings, completion) == told


PERSON = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "completion", "points", "reason"),
    [
        (None, ' {"a": [1, 2]}\n', 1.0, "JSON"),
        (None, '{"a": }', 0.0, "not JSON: line 1 column 7: Expecting value"),
        (None, '{"a": 1} I hope that helps', 0.0, "not JSON: line 1 column 10: Extra data"),
        (None, '{"a": NaN}', 0.0, "not JSON: NaN is no JSON"),
        (None, "", 0.0, "not JSON: line 1 column 1: Expecting value"),
        (PERSON, '{"age": 7}', 1.0, "fits the schema"),
        (PERSON, '{"age": "7"}', 0.0, "does not fit the schema at $.age: '7' is not of type 'integer'"),
        (PERSON, "{}", 0.0, "does not fit the schema at $: 'age' is a required property"),
    ],
)
def test_json(schema: dict[str, Any] | None, completion: str, points: float, reason: str) -> None:
    assert score({"kind": "json", "json_schema": schema}, completion) == Score(points, reason)


def test_json_nested_too_deep_is_no_json() -> None:
    assert score({"kind": "json"}, "[" * 100_000).score == 0.0


def test_json_goes_by_the_schema_of_the_row() -> None:
    block = {"kind": "json", "column": "schema"}
    assert score(block, "3", '{"type": "string"}').score == 0.0
    assert score(block, "3", {"type": "integer"}) == Score(1.0, "fits the schema")
    assert score(block, "3") == Score(None, "the row has no `schema`")
    assert score(block | {"json_schema": {"type": "string"}}, "3").score == 0.0
    told = score(block, "3", {"type": "number or so"})
    assert told.score is None
    assert told.reason.startswith("the row's schema is no schema: 'number or so'")


def test_json_fetches_no_schema_from_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        dial = threading.Thread(
            target=score, args=({"kind": "json", "column": "schema"}, "3", {"$ref": address}), daemon=True
        )
        dial.start()
        dial.join(5.0)  # it would wait for an answer that does not come
        assert not dial.is_alive()
        with pytest.raises(BlockingIOError):
            server.accept()
    told = score({"kind": "json", "column": "schema"}, "3", {"$ref": address})
    assert told == Score(None, f"the row's schema is no schema: Unresolvable: {address}")


@pytest.mark.parametrize(
    ("completion", "answer", "told"),
    [
        ('{"answer": 3}', 3, Score(1.0, "got 3")),
        ('{"answer": 3.0}', 3, Score(1.0, "got 3.0")),
        ('{"answer": "3"}', 3, Score(0.0, 'got "3", want 3')),
        ('{"answer": true}', 1, Score(0.0, "got true, want 1")),
        ('{"answer": {"a": [1, 2]}}', {"a": [1.0, 2]}, Score(1.0, 'got {"a": [1, 2]}')),
        ('{"answer": {"a": [2, 1]}}', {"a": [1, 2]}, Score(0.0, 'got {"a": [2, 1]}, want {"a": [1, 2]}')),
        ('{"Answer": 3}', 3, Score(0.0, "no field `answer`")),
        ("[3]", 3, Score(0.0, "JSON, but no object")),
        ("3 apples", 3, Score(0.0, "not JSON: line 1 column 3: Extra data")),
    ],
)
def test_json_answer(completion: str, answer: Any, told: Score) -> None:
    assert score({"kind": "json_answer"}, completion, answer) == told


@pytest.mark.parametrize(
    ("completion", "told"),
    [
        ("<think>hm</think> <answer>4</answer>", Score(1.0, "all tags in order")),
        ("<answer>4</answer>", Score(0.5, "no <think>")),
        ("<think>hm</think><answer>4", Score(0.5, "no </answer>")),
        ("<answer>4</answer><think>hm</think>", Score(0.5, "<answer> out of order")),
        ("<think><answer>4</answer></think>", Score(0.5, "<answer> out of order")),
        ("<think> \n</think><answer>4</answer>", Score(0.5, "<think> is empty")),
        ("<think>a</think><think>b</think><answer>4</answer>", Score(0.5, "<think> more than once")),
        ("four", Score(0.0, "no <think>, no <answer>")),
    ],
)
def test_tags(completion: str, told: Score) -> None:
    assert score({"kind": "tags"}, completion) == told


@pytest.mark.parametrize(("length", "points"), [(0, 0.0), (10, 0.0), (15, -0.5), (20, -1.0), (500, -1.0)])
def test_length(length: int, points: float) -> None:
    told = score({"kind": "length", "soft": 10, "hard": 20}, "x" * length)
    assert told == Score(points, f"{length} characters")
