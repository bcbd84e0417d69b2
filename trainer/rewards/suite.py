"""The tests of a row, read into one program of numbered tests.

Tests are trusted more than code, and yet only read here: they run in the sandbox.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from trainer.rewards.score import short


class NoTests(ValueError):
    """What the row has is no test: the message says why."""


@dataclass(frozen=True)
class Suite:
    """Tests to run against code: `tests` is a program in which `with __test__(n):` stands around test n of `labels`.

    `prompt` is the Python that the code continues and `function` the one that it is about; empty where not known.
    """

    prompt: str
    tests: str
    function: str
    labels: list[str]


def read_suite(tests: Any) -> Suite:
    """The suite that a row's value is. Raises NoTests.

    It is a text of asserts, one with HumanEval's `check(candidate)`, a list of texts that are one test each (MBPP), or
    an object with HumanEval's `test`, `entry_point` and perhaps `prompt`.
    """
    row = tests if isinstance(tests, dict) else {"test": tests}
    prompt, function, test = row.get("prompt", ""), row.get("entry_point", ""), row.get("test")
    if not isinstance(prompt, str) or not isinstance(function, str):
        raise NoTests("`prompt` and `entry_point` have to be text")
    labels: list[str] = []
    if isinstance(test, str):
        body = _numbered(_with_call(_parse(test).body), labels)
    elif isinstance(test, list) and all(isinstance(item, str) for item in test):
        body = [_around(_parse(item).body, short(item), labels) for item in test]
    else:
        raise NoTests(f"no tests, but {short(test)}")
    if not labels:
        raise NoTests("the tests have no assert")
    program = ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))
    return Suite(prompt if _is_python(prompt) else "", program, function, labels)


def _numbered(statements: list[ast.stmt], labels: list[str]) -> list[ast.stmt]:
    """The statements, with a frame around each that asserts something, also inside HumanEval's `check`."""
    body: list[ast.stmt] = []
    for statement in statements:
        if isinstance(statement, ast.FunctionDef) and statement.name == "check":
            statement.body = _numbered(statement.body, labels)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _asserts(statement):
            statement = _around([statement], short(ast.unparse(statement)), labels)
        body.append(statement)
    return body


def _asserts(statement: ast.stmt) -> bool:
    """Whether something that can fail is asserted: HumanEval's `assert True` cannot."""
    return any(
        isinstance(node, ast.Assert) and not (isinstance(node.test, ast.Constant) and node.test.value)
        for node in ast.walk(statement)
    )


def _around(body: list[ast.stmt], label: str, labels: list[str]) -> ast.With:
    """`with __test__(n): body`, where n is the place of `label` among `labels`."""
    labels.append(label)
    frame = ast.Call(ast.Name("__test__", ast.Load()), [ast.Constant(len(labels) - 1)], [])
    return ast.With([ast.withitem(frame)], body)


def _with_call(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements, with a call of `check` where they only define it."""
    defined = any(isinstance(statement, ast.FunctionDef) and statement.name == "check" for statement in body)
    called = any(ast.unparse(statement).startswith("check(") for statement in body)
    return body + ast.parse("check(candidate)").body if defined and not called else body


def _parse(text: str) -> ast.Module:
    """Raises NoTests where `text` is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoTests(f"the tests are no Python: {short(error)}") from error


def _is_python(text: str) -> bool:
    try:
        _parse(text)
    except NoTests:
        return False
    return True
