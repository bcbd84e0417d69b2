"""The reward `python_tests`: the share of a row's tests that the completion's code passes.

The code and the tests run in two sandboxes that share one socket. The tests hold the function as a stand-in that sends
the arguments and gets back plain data, so the verdict is made where the code cannot reach: it may print "passed", exit,
replace `assert` and the built-in functions, catch what it likes, walk the frames of its process or return something
that equals everything, and has won nothing. What it sees of a test is the arguments.

It can still answer known arguments by heart, and where tests use a name that they do not define, a helper or a module,
the code may have put its own there; HumanEval's helpers are therefore taken from the `prompt` where the row gives it.
Three things cannot cross, and fail a right solution: results that are neither plain data nor used through calls,
attributes, items and iteration; exceptions of a class of the code's own, caught by name; arguments that are instances
of a class of the tests' own.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recipes.rewards import PythonTests
from trainer.rewards.inside import source
from trainer.rewards.sandbox import Limits, Outcome, available, run_python, start
from trainer.rewards.score import Score, short
from trainer.rewards.suite import NoTests, Suite, read_suite

VERDICTS_KIB = 1024  # what the tests' side may write, whatever the code may
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = ("python", "py", "python3")


def score_tests(block: PythonTests, completion: str, tests: Any) -> Score:
    """The share of the `tests` that pass, and the first that does not. Raises SandboxError.

    `tests` is what `suite.read_suite` takes, or a list of {"input", "output"} to compare the standard output with.
    """
    code = code_of(completion)
    try:
        pairs = _pairs(tests)
        score = _score_pairs(block, code, pairs) if pairs else _score_suite(block, code, read_suite(tests))
    except NoTests as error:
        return Score(None, str(error))
    return score if available() else Score(score.score, f"{score.reason} (no sandbox)")


def code_of(completion: str) -> str:
    """The code in a completion: the last fence that says Python, else the last that says nothing, else all of it."""
    fences: list[tuple[str, str]] = [(language.lower(), text) for language, text in _FENCE.findall(completion)]
    python = [text for language, text in fences if language in _PYTHON]
    unnamed = [text for language, text in fences if not language]
    return [completion, *unnamed, *python][-1]


def _pairs(tests: Any) -> list[tuple[str, str]]:
    """Inputs and outputs, or none where the tests are something else. Raises NoTests."""
    if not isinstance(tests, list) or not tests or not isinstance(tests[0], dict):
        return []
    pairs = []
    for test in tests:
        match test:
            case {"input": str(given), "output": str(wanted)}:
                pairs.append((given, wanted))
            case _:
                raise NoTests("each pair needs `input` and `output` as text")
    return pairs


def _score_pairs(block: PythonTests, code: str, pairs: Sequence[tuple[str, str]]) -> Score:
    """Each pair runs the code anew; all together have the block's time."""
    end = time.monotonic() + block.timeout_s
    faults = []
    for given, wanted in pairs:
        left = end - time.monotonic()
        if left <= 0:
            faults.append("timeout")
            continue
        outcome = run_python(code, given, _limits(block, left), unsandboxed=block.unsandboxed)
        faults.append(_how(outcome) or _difference(outcome.stdout, wanted))
    return _share(faults, [f"input {short(given, 40)}" for given, _ in pairs])


def _difference(got: str, wanted: str) -> str:
    """Empty where the outputs are the same but for white space at the ends of lines and of the whole."""
    lines, right = ([line.rstrip() for line in text.strip().splitlines()] for text in (got, wanted))
    return "" if lines == right else f"got {short(got, 40)}, want {short(wanted, 40)}"


def _score_suite(block: PythonTests, code: str, suite: Suite) -> Score:
    """The share of the suite's tests. Raises NoTests where the tests need a module that the sandbox has not."""
    function = suite.function or _last_function(code)
    if suite.prompt:
        defined = re.search(rf"^(?:async )?def {re.escape(function)}\b", code, re.MULTILINE)
        code = suite.prompt + ("\n\n" if defined else "") + code
    told, verdict, ended = _run_suite(block, code, suite, function)
    stopped = "not reached" if verdict.ended == "ok" else _how(verdict)
    faults: list[str | None] = [None] * len(suite.labels)
    for what, how in told:
        if how == "gone":
            how = (ended and _how(ended)) or "the code ended its process"
        match what:
            case int():
                faults[what] = faults[what] or how
            case "import":
                raise NoTests(f"the tests cannot run here: {short(how)}")
            case _:
                stopped = how
    return _share([stopped if fault is None else fault for fault in faults], suite.labels)


def _run_suite(
    block: PythonTests, code: str, suite: Suite, function: str
) -> tuple[list[tuple[int | str, str]], Outcome, Outcome | None]:
    """What the tests' side told, how it ended, and how the code's side did where it ended first."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run = f"run_tests({ours.fileno()}, {suite.prompt!r}, {suite.tests!r}, {function!r})"
        judging = Limits(timeout_s=block.timeout_s, output_kib=VERDICTS_KIB)
        judge = start(
            f"{source('calls', 'judge')}\n\n{run}", "", judging, channel=ours.fileno(), unsandboxed=block.unsandboxed
        )
        serve = f"serve({theirs.fileno()}, {code!r})"
        try:
            server = start(
                f"{source('calls')}\n\n{serve}",
                "",
                _limits(block, block.timeout_s),
                channel=theirs.fileno(),
                unsandboxed=block.unsandboxed,
            )
        except BaseException:
            judge.kill()
            judge.wait()
            raise
    with ThreadPoolExecutor(1) as pool:
        ended, gone = pool.submit(server.wait), False
        try:
            verdict = judge.wait()
            told = [json.loads(line) for line in verdict.stdout.splitlines(keepends=True) if line.endswith("\n")]
            gone = any(how == "gone" for _, how in told)
        finally:
            if not gone:
                server.kill()
        return told, verdict, ended.result() if gone else None


def _last_function(code: str) -> str:
    """The name of the last function that the code defines, which is what HumanEval's `check` gets."""
    return next(reversed(re.findall(r"^(?:async )?def (\w+)", code, re.MULTILINE)), "")


def _limits(block: PythonTests, timeout_s: float) -> Limits:
    return Limits(timeout_s, block.memory_mib, block.processes, block.output_kib)


def _how(outcome: Outcome) -> str:
    """Why the code failed, or empty."""
    match outcome.ended:
        case "ok":
            return ""
        case "error":
            return outcome.stderr.strip().rpartition("\n")[2] or f"exit code {outcome.exit_code}"
        case "memory":
            return "out of memory"
        case "output":
            return "too much output"
        case "killed":
            return "killed by a signal"
        case "timeout":
            return "timeout"


def _share(faults: Sequence[str], labels: Sequence[str]) -> Score:
    passed = sum(not fault for fault in faults)
    reason = f"{passed} of {len(faults)} tests passed"
    for fault, label in zip(faults, labels, strict=True):
        if fault:
            return Score(passed / len(faults), f"{reason}; {label}: {short(fault)}")
    return Score(1.0, reason)
