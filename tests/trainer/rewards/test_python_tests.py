"""Code is worth the share of the tests that it passes, and nothing that it does to win otherwise helps."""

from __future__ import annotations

import gzip
import json
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from recipes.rewards import PythonTests
from trainer.rewards import python_tests, sandbox
from trainer.rewards.python_tests import code_of, score_tests
from trainer.rewards.sandbox import SandboxError, available
from trainer.rewards.score import Score

HUMANEVAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "humaneval" / "HumanEval.jsonl.gz"
ADD_ONE = "assert f(1) == 2\nassert f(2) == 3\nassert f(5) == 6"

pytestmark = pytest.mark.skipif(available() is None, reason="neither bubblewrap nor user namespaces work on this box")


def scored(code: str, tests: Any, **settings: Any) -> Score:
    return score_tests(PythonTests(kind="python_tests", **settings), code, tests)


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("def f(): pass", "def f(): pass"),
        ("Sure!\n```python\na = 1\n```\nor\n```python\na = 2\n```\nDone.", "a = 2\n"),
        ("```py\na = 1\n```\n```\n$ run\n```", "a = 1\n"),
        ("```\na = 1\n```\n```bash\nrun\n```", "a = 1\n"),
        ("```python\na = 1", "a = 1"),
        ("    return 1\n", "    return 1\n"),
    ],
)
def test_the_code_is_the_last_python_fence_or_an_unnamed_one_or_all(completion: str, code: str) -> None:
    assert code_of(completion) == code


@pytest.mark.parametrize(
    ("code", "score", "fault"),
    [
        ("def f(x): return x + 1", 1.0, ""),
        ("def f(x): return 2", 1 / 3, "assert f(2) == 3: AssertionError"),
        ("def f(x): return x[0]", 0.0, "assert f(1) == 2: TypeError: 'int' object is not subscriptable"),
        (
            "def f(x):\n    if x > 1: raise OSError('\\x1b[31mno')\n    return 2",
            1 / 3,
            "assert f(2) == 3: OSError: �[31mno",
        ),
        ("def f(x) return x", 0.0, "assert f(1) == 2: SyntaxError: expected ':' (<code>, line 1)"),
        ("import numpy\ndef f(x): return x + 1", 0.0, "assert f(1) == 2: ModuleNotFoundError: No module named 'numpy'"),
        ("def g(x): return x + 1", 0.0, "assert f(1) == 2: NameError: name 'f' is not defined"),
        ("def f(x):\n    while x > 1: pass\n    return 2", 1 / 3, "assert f(2) == 3: timeout"),
        ("while True: pass", 0.0, "assert f(1) == 2: timeout"),
        ("def f(x): return len(bytearray(10**10))", 0.0, "assert f(1) == 2: MemoryError"),
        ("def f(x):\n    while True: print('x' * 1000)", 0.0, "assert f(1) == 2: too much output"),
        ("import ctypes\ndef f(x): ctypes.string_at(0)", 0.0, "assert f(1) == 2: killed by a signal"),
        ("def f(x): return f(x)", 0.0, "assert f(1) == 2: RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_the_score_is_the_share_and_the_reason_names_the_first_fault(code: str, score: float, fault: str) -> None:
    got = scored(code, ADD_ONE, timeout_s=2.0)
    assert got.score == pytest.approx(score)
    assert got.reason == f"{round(score * 3)} of 3 tests passed" + (f"; {fault}" if fault else "")


EQUALS_ALL = """
class Chameleon({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __contains__ = __lt__
    __hash__ = None
def f(x): return Chameleon()
"""
CHEATS = {
    "exits at once": "import os\nprint('3 of 3 tests passed', flush=True)\nos._exit(0)",
    "exits when called": "import os\ndef f(x): os._exit(0)",
    "exits politely": "import sys\ndef f(x): sys.exit(0)",
    "equals everything": EQUALS_ALL.format(base="object"),
    "is an int that equals everything": EQUALS_ALL.format(base="int"),
    "replaces built-ins": """
        import builtins, sys
        builtins.AssertionError = SystemExit
        for name in ("all", "any", "len", "sorted"): setattr(builtins, name, lambda *_: True)
        def f(x): return 0
    """,
    "has names of built-ins": "all = any = abs = lambda *_: True\ndef f(x): return 0",
    "walks the frames": """
        import gc, sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
                    if isinstance(value, str) and "-f(1)".replace("-", "assert ") in value: return x + 1
                frame = frame.f_back
            for value in gc.get_objects():
                if isinstance(value, dict) and "-f(1)".replace("-", "assert ") in str(value)[:10**5]: return x + 1
            return 0
    """,
    "writes verdicts everywhere": """
        import os
        for fd in range(64):
            try: os.write(fd, b'[0, ""]\\n[1, ""]\\n[2, ""]\\n')
            except OSError: pass
        def f(x): return 0
    """,
    "closes all": "import os\ndef f(x): os.closerange(0, 64)",
    "floods the other side": "def f(x): return 'x' * 2**25",
    "nests too deep": "def f(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
}


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS.keys())
@pytest.mark.parametrize("tests", [ADD_ONE, "assert all([f(n) == n + 1 for n in range(9)])"], ids=["plain", "all"])
def test_a_cheat_wins_nothing(cheat: str, tests: str) -> None:
    assert scored(textwrap.dedent(cheat), tests, timeout_s=5.0).score == 0.0


def test_the_codes_side_cannot_bring_built_in_functions() -> None:
    # The forged answer stands for the code's names, and each true answer for the question after its own.
    forged = {"value": {"dict": [["__builtins__", {"dict": [["all", {"remote": 1}]]}], ["f", {"remote": 1}]]}}
    code = f"""
import os
def f(*_): return True
for fd in range(3, 64):
    try: os.write(fd, {json.dumps(forged).encode()!r} + b"\\n")
    except OSError: pass
"""
    assert scored(code, "assert all([f(1) == 2])").score == 0.0


def test_a_stop_iteration_does_not_end_a_tests_loop() -> None:
    assert scored("def f(x): raise StopIteration", "assert all(map(f, [1, 2]))").score == 0.0


def test_exit_after_a_passed_test_loses_the_rest() -> None:
    got = scored("import os\ndef f(x):\n    if x > 1: os._exit(0)\n    return 2", ADD_ONE + "\nassert 1 + 1 == 2")
    assert got == Score(0.25, "1 of 4 tests passed; assert f(2) == 3: the code ended its process")


def test_what_tests_lend_to_the_code_can_only_be_called() -> None:
    assert (
        scored(
            "def f(g): return g(3)", "assert f(lambda x: x + 1) == 4\nassert f(str) == '3'\nassert f(abs) == 3"
        ).score
        == 1
    )
    refused = scored("def f(g): return g.__globals__", "assert f(lambda: 1)")
    assert refused.score == 0.0
    assert "PermissionError" in refused.reason


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def f(xs): xs.sort()", "xs = [3, 1]\nf(xs)\nassert xs == [1, 3]"),
        ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2]\nassert sum(f(4)) == 6"),
        (
            "def f(x):\n    if x < 0: raise ValueError('x')",
            "try:\n    f(-1)\n    assert False\nexcept ValueError: pass",
        ),
        (
            "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
            "    def __len__(self): return len(self.items)\n    def __str__(self): return str(self.items)",
            "s = Stack()\nassert not s\ns.push(3)\nassert len(s) == 1 and str(s) == '[3]'\nassert s.items == [3]",
        ),
        (
            "from collections import Counter, namedtuple\nP = namedtuple('P', 'a b')\n"
            "def f(): return (1.5, float('inf'), 2j, b'x', {1: {2}}, None, True, Counter('aab'), P(1, 2), 10**50)",
            "assert f() == (1.5, float('inf'), 2j, b'x', {1: {2}}, None, True, {'a': 2, 'b': 1}, (1, 2), 10**50)",
        ),
        ("print('noise')\ndef f(): return input", "assert callable(f())"),
        ("if __name__ == '__main__':\n    input()\ndef f(): return 1", "print('noise')\nassert f() == 1"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ndef f(): return 1",
            "assert f()",
        ),
    ],
    ids=["in place", "generator", "exception", "class", "data", "builtin", "main", "thread"],
)
def test_a_right_solution_passes(code: str, tests: str) -> None:
    begin = time.monotonic()
    assert scored(code, tests).score == 1.0
    assert time.monotonic() - begin < 9  # nothing waited for the time to be up


def test_a_list_is_a_test_an_item() -> None:
    got = scored("def f(x): return abs(x)", ["assert f(1) == 1", "import math\nassert f(-1) == math.pi", "f(-2)"])
    assert got == Score(2 / 3, "2 of 3 tests passed; import math⏎assert f(-1) == math.pi: AssertionError")


def test_pairs_compare_the_output() -> None:
    pairs = [{"input": "2\n", "output": "4\n"}, {"input": "3", "output": "6  \n\n"}, {"input": "x", "output": "y"}]
    got = scored("print(int(input()) * 2)", pairs)
    assert got.score == pytest.approx(2 / 3)
    assert got.reason.startswith("2 of 3 tests passed; input x: ValueError: invalid literal for int()")
    assert scored("print('a \\nb')", [{"input": "", "output": "a\nb"}]).score == 1.0
    assert scored("print(5)", pairs[:1]).reason == "0 of 1 tests passed; input 2: got 5, want 4"


def test_pairs_have_the_time_together() -> None:
    code = "import time\nn = input()\ntime.sleep(1.2)\nprint(n)"
    got = scored(code, [{"input": n, "output": n} for n in "123"], timeout_s=2.2)
    assert got == Score(1 / 3, "1 of 3 tests passed; input 2: timeout")


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        (None, "no tests, but None"),
        ([], "the tests have no assert"),
        ([{"input": 1, "output": "1"}], "each pair needs `input` and `output` as text"),
        ("assert f(1) ==", "the tests are no Python"),
        ("f(1)", "the tests have no assert"),
        ("assert True", "the tests have no assert"),
        ("import numpy\nassert f(1)", "the tests cannot run here: ModuleNotFoundError: No module named 'numpy'"),
    ],
)
def test_a_row_without_usable_tests_is_not_scored(tests: Any, reason: str) -> None:
    got = scored("def f(x): return x", tests)
    assert got.score is None
    assert got.reason.startswith(reason)


def test_without_a_sandbox_it_refuses_or_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "available", lambda: None)
    monkeypatch.setattr(python_tests, "available", lambda: None)
    with pytest.raises(SandboxError):
        scored("def f(x): return x + 1", ADD_ONE)
    got = scored("def f(x): return x + 1", ADD_ONE, unsandboxed=True)
    assert got == Score(1.0, "3 of 3 tests passed (no sandbox)")


def humaneval() -> list[dict[str, str]]:
    """Every fourth row, so that each run sees all kinds of them in some seconds."""
    if not HUMANEVAL.exists():
        pytest.skip("the folder of real datasets is not on this machine")
    with gzip.open(HUMANEVAL, "rt") as file:
        return [json.loads(line) for line in file][::4]


def test_humaneval_solutions_pass() -> None:
    for row in humaneval():
        assert scored(row["canonical_solution"], row).score == 1.0, row["task_id"]


def test_humaneval_passes_a_whole_function_without_the_rest_of_the_row() -> None:
    row = humaneval()[0]
    chat = f"Here it is:\n```python\n{row['prompt']}{row['canonical_solution']}```\nIt compares all pairs."
    assert scored(chat, row["test"]) == Score(1.0, "7 of 7 tests passed")


def test_humaneval_wrong_solutions_fail() -> None:
    for row in humaneval()[:10]:
        assert scored("    return NotImplemented\n", row).score == 0.0, row["task_id"]


def test_a_helper_of_the_prompt_cannot_be_replaced() -> None:
    row = {
        "prompt": 'def double(x):\n    return 2 * x\n\ndef half(x):\n    """The x of which double(x) is x."""\n',
        "entry_point": "half",
        "test": "def check(candidate):\n    assert double(candidate(8)) == 8",
    }
    assert scored("    return x / 2\n", row).score == 1.0
    assert scored("    return x / 2\n", {**row, "test": "assert half(8) == 4"}).score == 1.0
    assert scored("def double(x): return 8\ndef half(x): return 0\n", row).score == 0.0
