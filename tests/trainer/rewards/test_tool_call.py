"""The reward `tool_call`, in the forms that models and datasets write calls in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.rewards import ToolCall
from trainer.rewards.score import Score
from trainer.rewards.tool_call import score_tool_call

BLOCK = ToolCall(kind="tool_call")
CALL = {"name": "area", "arguments": {"shape": "circle", "sizes": [4]}}
OTHER = {"name": "time", "arguments": {}}
GLAIVE = Path(__file__).parents[4] / "shared" / "data" / "llamafactory_demo" / "glaive_toolcall_en_demo.json"


def hermes(*calls: dict[str, Any]) -> str:
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)


@pytest.mark.parametrize(
    "completion",
    [
        hermes(CALL),
        f"<think>A circle, then.</think>\n{hermes(CALL)}",
        json.dumps(CALL),
        json.dumps([CALL]),
        f"[TOOL_CALLS] {json.dumps([CALL])}",
        json.dumps({"name": "area", "parameters": CALL["arguments"]}),
        json.dumps({"name": "area", "arguments": json.dumps(CALL["arguments"])}),
        '{"name": "area", "arguments": {"sizes": [4.0], "shape": "circle"}}',
    ],
)
@pytest.mark.parametrize(
    "expected",
    [
        CALL,
        [CALL],
        json.dumps(CALL),
        json.dumps([CALL]),
        {"type": "function", "function": CALL},
        [{"type": "function", "function": {"name": "area", "arguments": json.dumps(CALL["arguments"])}}],
    ],
)
def test_right_in_every_form(completion: str, expected: Any) -> None:
    assert score_tool_call(BLOCK, completion, expected) == Score(1.0, "called area")


@pytest.mark.parametrize(
    ("completion", "expected", "told"),
    [
        (
            hermes({"name": "area", "arguments": {"shape": "square", "sizes": [4]}}),
            CALL,
            Score(0.5, "called area with other arguments: `shape` is square, want circle"),
        ),
        (
            hermes({"name": "area", "arguments": {"shape": "circle"}}),
            CALL,
            Score(0.5, "called area with other arguments: `sizes` is nothing, want [4]"),
        ),
        (
            hermes({"name": "area", "arguments": {"shape": "circle", "sizes": ["4"]}}),
            CALL,
            Score(0.5, "called area with other arguments: `sizes` is ['4'], want [4]"),
        ),
        (hermes(OTHER), CALL, Score(0.0, "called time, want area")),
        (hermes(CALL, CALL), CALL, Score(0.0, "called area, area, want area")),
        (hermes(OTHER, CALL), [CALL, OTHER], Score(1.0, "called time, area")),
        (hermes(CALL), [CALL, OTHER], Score(0.0, "called area, want area, time")),
        ("The area is 50.", CALL, Score(0.0, "called no tool, want area")),
        ("The area is 50.", [], Score(1.0, "called no tool")),
        (hermes(CALL), [], Score(0.0, "called area, want no tool")),
        ("<tool_call>{'name': 'area'}</tool_call>", CALL, None),
        ('{"tool": "area"}', CALL, Score(0.0, "no object with a `name`")),
        ("{", CALL, None),
        (hermes(CALL), {"tool": "area"}, Score(None, "the row's `tool_calls` is no call: no object with a `name`")),
        (hermes(CALL), "area", None),
    ],
)
def test_wrong_and_why(completion: str, expected: Any, told: Score | None) -> None:
    found = score_tool_call(BLOCK, completion, expected)
    if told is None:
        assert "not JSON: line 1 column" in found.reason
        assert found.score != 1.0
    else:
        assert found == told


def test_real_calls() -> None:
    """211 calls of glaive: each is right for itself, and none for another tool's."""
    if not GLAIVE.exists():
        pytest.skip("the tool calls of glaive are not here")
    turns = [turn for row in json.loads(GLAIVE.read_text()) for turn in row["conversations"]]
    calls = [turn["value"] for turn in turns if turn["from"] == "function_call"]
    assert len(calls) == 211
    for call, other in zip(calls, [*calls[1:], calls[0]], strict=True):
        assert score_tool_call(BLOCK, f"<tool_call>{call}</tool_call>", call).score == 1.0
        same_tool = json.loads(call)["name"] == json.loads(other)["name"]
        expected = 1.0 if json.loads(call) == json.loads(other) else 0.5 if same_tool else 0.0
        assert score_tool_call(BLOCK, call, other).score == expected
