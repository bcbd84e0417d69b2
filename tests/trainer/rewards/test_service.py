"""Rewards in their own process: whatever they do, each completion gets a score or a reason, and nothing is silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import TypeAdapter

from recipes.rewards import Reward
from tests.waiting import wait_until
from trainer.rewards.score import Failure, RewardError, Score
from trainer.rewards.service import RewardService

CATASTROPHE = {"kind": "regex", "pattern": "(a+)+$", "timeout_s": 0.5}
EVIL = "a" * 40 + "!"


class Told:
    """A service with one reward, and the failures that it reported."""

    def __init__(self, block: dict[str, Any]) -> None:
        self.failures: list[Failure] = []
        self.service = RewardService({"mine": TypeAdapter[Any](Reward).validate_python(block)}, self.failures.append)

    def score(self, *completions: str, **columns: list[Any]) -> list[Score]:
        return self.service.score("mine", ["?"] * len(completions), completions, columns)

    def points(self, *completions: str, **columns: list[Any]) -> list[float | None]:
        return [one.score for one in self.score(*completions, **columns)]

    @property
    def kinds(self) -> list[tuple[str, str, int, bool]]:
        return [(one.kind, one.completion, one.attempt, one.final) for one in self.failures]


Make = Callable[..., Told]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a service with one reward: of settings, or of the source of a function."""
    made: list[Told] = []

    def build(source: str | dict[str, Any], **settings: Any) -> Told:
        if isinstance(source, str):
            (tmp_path / "mine.py").write_text(textwrap.dedent(source))
            source = {"kind": "function", "file": str(tmp_path / "mine.py"), "timeout_s": 2.0} | settings
        made.append(Told(source))
        return made[-1]

    yield build
    for one in made:
        one.service.close()


def test_a_built_in_reward(make: Make) -> None:
    told = make({"kind": "numeric"})
    scores = told.score("The answer is 4", "5", r"\boxed{\frac{1}{2}}", answer=["4", "4", None])
    assert scores == [Score(1.0, "got 4"), Score(0.0, "got 5, want 4"), Score(None, "the row has no `answer`")]
    assert len(told.service.last_times("mine")) == 3
    assert told.score() == []
    assert not told.failures


def test_tests_of_code_run_beside_each_other(make: Make) -> None:
    told = make({"kind": "python_tests", "unsandboxed": True})
    right, wrong, endless = (f"def f(x):\n    {body}" for body in ("return x + 1", "return x", "while True: pass"))
    tests = [["assert f(1) == 2", "assert f(2) == 3"]] * 3
    assert told.points(right, wrong, right, test=tests) == [1.0, 0.0, 1.0]
    told = make({"kind": "python_tests", "unsandboxed": True, "timeout_s": 1.0})
    assert told.points(right, test=tests[:1]) == [1.0]
    begin = time.monotonic()
    assert told.points(endless, endless, right, test=tests) == [0.0, 0.0, 1.0]
    if len(os.sched_getaffinity(0)) > 1:
        assert time.monotonic() - begin < sum(told.service.last_times("mine"))
    assert not told.failures  # the sandbox ended them, and the process of the rewards lives


def test_the_rows_lack_the_column(make: Make) -> None:
    assert make({"kind": "numeric"}).score("4") == [Score(None, "the row has no `answer`")]


def test_a_regular_expression_without_end_costs_its_time_and_only_its_own_score(make: Make) -> None:
    told = make(CATASTROPHE | {"retries": 0})
    begin = time.monotonic()
    assert told.score("aaa", EVIL, "aaa") == [
        Score(1.0, "the pattern matches"),
        Score(None, "no answer within 0.5 s"),
        Score(1.0, "the pattern matches"),
    ]
    assert time.monotonic() - begin < 20
    assert told.kinds == [("timeout", EVIL, 1, True)]
    slow = told.service.last_times("mine")
    assert slow[1] == max(slow)
    assert slow[1] >= 0.5


def test_a_formula_without_end(make: Make) -> None:
    told = make({"kind": "numeric", "timeout_s": 0.5, "retries": 0, "on_error": "zero"})
    assert told.points(r"\boxed{9^{9^{9}}}", "3", answer=["3", "3"]) == [0.0, 1.0]
    assert [kind for kind, *_ in told.kinds] == ["timeout"]


@pytest.mark.parametrize(
    ("returns", "scores"),
    [
        ("[1, 0.5, True]", [Score(1.0, "`reward` gave 1"), Score(0.5, "`reward` gave 0.5"), Score(1.0, "`reward` gave 1")]),
        ("[None, (0.5, 'half'), (None, 'no idea')]", [Score(None, "`reward` gave None"), Score(0.5, "half"),
                                                      Score(None, "no idea")]),
        ("(len(c) for c in completions)", [Score(1.0, "`reward` gave 1"), Score(2.0, "`reward` gave 2"),
                                           Score(3.0, "`reward` gave 3")]),
        ("__import__('numpy').ones(3)", [Score(1.0, "`reward` gave 1")] * 3),
    ],
)  # fmt: skip
def test_what_a_function_may_give(make: Make, returns: str, scores: list[Score]) -> None:
    told = make(f"def reward(completions, **columns): return {returns}")
    assert told.score("a", "bb", "ccc") == scores
    assert not told.failures


def test_a_function_gets_the_columns_that_it_names_and_its_folder(make: Make, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def near(a, b): return float(abs(int(a) - b) < 2)")
    told = make("""
        from helper import near
        def reward(completions, answer): return [near(c, a) for c, a in zip(completions, answer)]
    """)
    assert told.points("4", "4", answer=[5, 7], other=[0, 0]) == [1.0, 0.0]


def test_one_bad_completion_costs_only_its_own_score(make: Make) -> None:
    told = make("""
        def reward(prompts, completions, **columns):
            return [10 / int(c) for c in completions]
    """)
    scores = told.score("5", "0", "2")
    where = "ZeroDivisionError: division by zero (mine.py line 3, in <listcomp>)"
    assert scores == [Score(2.0, "`reward` gave 2"), Score(None, where), Score(5.0, "`reward` gave 5")]
    assert told.kinds == [("raised", "", 1, False), ("raised", "0", 2, True)]
    assert told.failures[0].message == f"a batch of 3: {where}"


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "'high'", "object()", "10 ** 400", "[]"])
def test_no_number(make: Make, value: str) -> None:
    told = make(f"def reward(completions, **_): return [1.0 if c == 'good' else {value} for c in completions]")
    scores = told.score("good", "bad")
    assert scores[0].score == 1.0
    assert scores[1].score is None
    assert scores[1].reason.endswith("which is no number")
    assert told.kinds == [("not-a-number", "bad", 1, False), ("not-a-number", "bad", 2, True)]


@pytest.mark.parametrize(
    ("returns", "got"), [("[1.0]", "1"), ("None", "raised"), ("{'a': 1}", "a dict"), ("7", "raised")]
)
def test_the_wrong_length(make: Make, returns: str, got: str) -> None:
    told = make(f"def reward(completions, **_): return {returns} if len(completions) > 1 else [0.5]")
    assert told.points("a", "b") == [0.5, 0.5]
    if got == "raised":
        assert told.kinds == [("raised", "", 1, False)]
    else:
        assert told.failures[0].message == f"a batch of 2: `reward` gave {got} for 2 completions"
        assert told.kinds == [("wrong-length", "", 1, False)]


HARMS = {
    "hangs": ("import time; time.sleep(600)", "timeout"),
    "spins in C": ("import re; re.match('(a+)+$', 'a' * 50 + '!')", "timeout"),
    "exits": ("import os; os._exit(3)", "died"),
    "raises SystemExit": ("raise SystemExit(3)", "raised"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "died"),
    "kills its group": ("import os, signal; os.killpg(0, signal.SIGKILL)", "died"),
    "closes the pipe": ("import os; os.closerange(3, 64)", "died"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_function_that_does_harm(make: Make, harm: str) -> None:
    code, kind = HARMS[harm]
    told = make(
        f"""
        def reward(completions, **_):
            for c in completions:
                if c == 'bad':
                    {code}
            return [1.0] * len(completions)
        """,
        timeout_s=0.7,
        retries=0,
    )
    assert told.points("good", "bad", "good") == [1.0, None, 1.0]
    assert told.kinds == [(kind, "", 1, False), (kind, "bad", 2, True)]
    assert told.points("good") == [1.0]


def test_how_a_process_died_is_told(make: Make) -> None:
    told = make("def reward(completions, **_): import os; os._exit(int(completions[0]))", retries=0)
    assert told.score("3") == [Score(None, "the rewards' process ended with exit code 3")]
    told = make("def reward(completions, **_): import ctypes; ctypes.string_at(0)", retries=0)
    assert told.score("3") == [Score(None, "the rewards' process was ended by signal SIGSEGV")]


def test_prints_and_reads_do_not_disturb(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    told = make("""
        import os, subprocess, sys
        def reward(completions, **_):
            print('{"items": []}\\n' * 50_000)
            os.write(1, b'\\x1b[2J loud\\n')
            subprocess.run(['sh', '-c', 'echo shouted; cat'], check=True)
            assert sys.stdin.read() == ''
            return [1.0] * len(completions)
    """)
    assert told.points("a", "b") == [1.0, 1.0]
    assert not told.failures
    told.service.close()
    printed = ""

    def there() -> bool:
        nonlocal printed
        out, error = capfd.readouterr()
        assert out == ""
        printed += error
        return "shouted" in printed

    wait_until(there, 10)
    assert "loud" in printed
    assert "\x1b" not in printed


def test_a_failed_call_is_tried_again(make: Make, tmp_path: Path) -> None:
    source = f"""
        from pathlib import Path
        tries = Path({str(tmp_path / "tries")!r})
        def reward(completions, **_):
            with tries.open('a') as file: file.write('x')
            if len(tries.read_text()) < 3: raise OSError('the judge is busy')
            return [1.0]
    """
    told = make(source, retries=2)
    assert told.points("a") == [1.0]
    assert told.kinds == [("raised", "a", 1, False), ("raised", "a", 2, False)]


@pytest.mark.parametrize(("on_error", "score"), [("skip", None), ("zero", 0.0)])
def test_what_a_failure_scores(make: Make, on_error: str, score: float | None) -> None:
    told = make("def reward(completions, **_): raise ValueError('no')", on_error=on_error, retries=0)
    assert told.score("a") == [Score(score, "ValueError: no (mine.py line 1, in reward)")]


def test_a_failure_that_stops(make: Make) -> None:
    told = make("def reward(completions, **_): raise ValueError('no')", on_error="stop")
    with pytest.raises(RewardError) as caught:
        told.score("a")
    assert caught.value.message == "`mine` could not score a completion: ValueError: no (mine.py line 1, in reward)"
    assert "rewards.mine.on_error" in caught.value.hint
    assert told.kinds == [("raised", "a", 1, False), ("raised", "a", 2, True)]


def test_a_file_that_cannot_be_loaded_is_told_once_a_try_not_once_a_completion(make: Make) -> None:
    told = make("import nowhere\ndef reward(completions): ...")
    scores = told.score(*"abcdefgh")
    reason = "mine.py cannot be loaded: ModuleNotFoundError: No module named 'nowhere' (mine.py line 1, in <module>)"
    assert scores == [Score(None, reason)] * 8
    assert told.kinds == [("raised", "", 1, False), ("raised", "", 2, True)]


def test_a_killed_process_is_started_again(make: Make) -> None:
    told = make({"kind": "length"})
    assert told.points("a") == [0.0]
    (child,) = psutil.Process().children()
    child.kill()
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE)
    assert told.points("a") == [0.0]
    assert not told.failures


def test_a_kill_takes_what_the_function_started(make: Make, tmp_path: Path) -> None:
    told = make(
        f"""
        import subprocess, time
        def reward(completions, **_):
            child = subprocess.Popen(['sleep', '600'])
            open({str(tmp_path / "pid")!r}, 'w').write(str(child.pid))
            time.sleep(600)
        """,
        timeout_s=1.0,
        retries=0,
    )
    assert told.points("a") == [None]
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not _runs(pid), 10)


def test_closing_leaves_nothing(make: Make) -> None:
    told = make({"kind": "length"})
    with told.service:
        told.score("a")
        (child,) = psutil.Process().children()
    assert not child.is_running()


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(600)", "import re; re.match('(a+)+$', 'a' * 50 + '!')", "pass"]
)
def test_a_killed_parent_leaves_no_child(tmp_path: Path, code: str) -> None:
    pid_file = tmp_path / "pid"
    (tmp_path / "mine.py").write_text(
        f"import os\ndef reward(completions):\n    open({str(pid_file)!r}, 'w').write(f'{{os.getpid()}}.')\n    {code}\n"
        "    return [1.0]\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", f"""if True:
        import time
        from recipes.rewards import Function
        from trainer.rewards.service import RewardService
        mine = Function(kind="function", file={str(tmp_path / "mine.py")!r}, timeout_s=600.0)
        RewardService({{"mine": mine}}, print).score("mine", ["?"], ["a"], {{}})
        time.sleep(600)
    """])  # fmt: skip
    try:
        wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("."), 60)
        child = int(pid_file.read_text()[:-1])
        assert _runs(child)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not _runs(child), 10)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
