"""Every setting of every kind of reward does something: each is changed, and a score changes with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from recipes.rewards import Reward, RewardBlock, RewardModel
from trainer.rewards.score import Failure
from trainer.rewards.service import RewardService

KINDS: tuple[type[RewardBlock], ...] = tuple(kind for kind in get_args(get_args(Reward)[0]) if kind is not RewardModel)
_REWARD: TypeAdapter[Reward] = TypeAdapter(Reward)


@dataclass(frozen=True)
class Setting:
    """With `key` at `value` beside `given`, the score of `completion` is another one than without."""

    value: Any
    completion: str
    given: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)


SCHEMA = {"type": "object", "required": ["answer"]}
TESTS = {"test": ["assert f(1) == 1"], "other": ["assert f(1) == 2"]}
ONE = "def f(x):\n    return x\n"
HUNGRY = "held = bytearray(400 * 2**20)\n" + ONE
BUSY = "import threading, time\nthreads = [threading.Thread(target=time.sleep, args=(2,)) for _ in range(8)]\n"
BUSY += "for one in threads: one.start()\n" + ONE
# A batch of one kind is cut at what it prints: only what it prints is read.
LOUD = {"test": [{"input": "", "output": "x" * 5000}]}
SETTINGS: dict[str, Setting] = {
    "numeric.answer": Setting("other", "7", columns={"answer": "7", "other": "8"}),
    "numeric.extract": Setting(r"= (\d+);", "= 7; or 8", columns={"answer": "7"}),
    "match.answer": Setting("other", "yes", columns={"answer": "yes", "other": "no"}),
    "match.normalise": Setting(False, "The Cat.", columns={"answer": "cat"}),
    "match.extract": Setting("<(.*)>", "I say <cat>", columns={"answer": "cat"}),
    "regex.pattern": Setting("b", "a", given={"pattern": "a"}),
    "regex.full": Setting(True, "ab", given={"pattern": "a"}),
    "json.json_schema": Setting(SCHEMA, "{}"),
    "json.column": Setting("schema", "{}", columns={"schema": SCHEMA}),
    "json_answer.field": Setting("total", '{"answer": 7, "total": 8}', columns={"answer": 7}),
    "json_answer.answer": Setting("other", '{"answer": 7}', columns={"answer": 7, "other": 8}),
    "tool_call.answer": Setting(
        "other",
        '{"name": "f", "arguments": {}}',
        columns={"tool_calls": {"name": "f", "arguments": {}}, "other": {"name": "g", "arguments": {}}},
    ),
    "tags.tags": Setting(["answer"], "<answer>7</answer>"),
    "length.soft": Setting(5, "x" * 10, given={"soft": 100, "hard": 200}),
    "length.hard": Setting(20, "x" * 15, given={"soft": 10, "hard": 200}),
    "python_tests.tests": Setting("other", ONE, columns=TESTS),
    "python_tests.memory_mib": Setting(128, HUNGRY, given={"memory_mib": 1024}, columns=TESTS),
    "python_tests.processes": Setting(4, BUSY, given={"processes": 32}, columns=TESTS),
    "python_tests.output_kib": Setting(1, "print('x' * 5000, end='')", columns=LOUD),
    "function.file": Setting("FILES/other.py", "x", given={"file": "FILES/mine.py"}),
    "function.name": Setting("second", "x", given={"file": "FILES/mine.py"}),
}
# What all kinds have is seen in test_service, `unsandboxed` on a box without a sandbox in test_python_tests.
KEYS = [
    f"{kind.model_fields['kind'].annotation.__args__[0]}.{name}"  # type: ignore[union-attr]
    for kind in KINDS
    for name in kind.model_fields
    if name != "kind"
    and name not in RewardBlock.model_fields
    and f"{kind.__name__}.{name}" != "PythonTests.unsandboxed"
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "mine.py").write_text(
        "def reward(completions, **_):\n    return [1.0]\n\n\ndef second(completions, **_):\n    return [2.0]\n"
    )
    (folder / "other.py").write_text("def reward(completions, **_):\n    return [3.0]\n")
    return folder


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_setting_changes_a_score(key: str, files: Path) -> None:
    kind, name = key.split(".")
    setting = SETTINGS[key]

    def score(**changed: Any) -> float | None:
        values = {"kind": kind, **setting.given, **changed}
        placed = {
            at: value.replace("FILES", str(files)) if isinstance(value, str) else value for at, value in values.items()
        }
        failures: list[Failure] = []
        with RewardService({"it": _REWARD.validate_python(placed)}, failures.append) as service:
            columns = {column: [value] for column, value in setting.columns.items()}
            (found,) = service.score("it", ["p"], [setting.completion], columns)
        assert not failures
        return found.score

    assert score(**{name: setting.value}) != score()


def test_the_table_holds_the_settings_of_the_schema_and_no_others() -> None:
    assert set(SETTINGS) == set(KEYS)
