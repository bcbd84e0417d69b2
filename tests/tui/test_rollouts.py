"""The rollouts of a run by its keys and by its command: live growth, search, diff, hostile text, a torn file."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.rollout_files import file_of, log_step, run_by_rewards
from tests.tui.test_workstation import SIZES, record, shown, until
from trainer.runs.folder import RunFolder, RunStatus
from tui.app import Workstation
from tui.main import main
from tui.screens.monitor import MonitorScreen
from tui.screens.rollouts import RolloutsScreen

ROWS = [
    ("2+2?", "it is 4", 1.0, 0.0),
    ("2+2?", "it is 5", 0.0, -0.5),
    ("3+3?", "six", 1.0, 0.0),
    ("3+3?", "6", 1.0, 0.0),
]


@pytest.fixture
def run(home: Path) -> RunFolder:
    """A run of three logged steps, two groups of two each."""
    made = run_by_rewards(home)
    for step in (10, 20, 30):
        log_step(made, step, [(f"at {step}: {prompt}", *rest) for prompt, *rest in ROWS])
    return made


async def opened(pilot: Pilot[int], run: RunFolder) -> None:
    """Wait until the screen of the run shows what it has."""
    pilot.app.push_screen(RolloutsScreen(run))
    await until(pilot, lambda: "Completion 1 of group 1" in shown(pilot.app) and "Prompt" in shown(pilot.app))  # type: ignore[arg-type]


def sees(app: Workstation, *texts: str) -> Callable[[], bool]:
    return lambda: all(text in shown(app) for text in texts)


@pytest.mark.parametrize("size", SIZES)
async def test_groups_completions_and_text_by_keys(run: RunFolder, size: tuple[int, int]) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=size) as pilot:
        app.push_screen(MonitorScreen(run))
        await until(pilot, sees(app, "finished"))
        await pilot.press("o")
        await until(pilot, sees(app, "step 30", "logged step 3 of 3", "2 groups, 1 without variance"))
        await until(pilot, sees(app, "at 30: 2+2?", "at 30: 3+3?", "it is 4 against the answer", "spread 0.884"))
        assert all(len(line) <= size[0] for line in shown(app).splitlines())
        await pilot.press("j")
        await until(pilot, sees(app, "Completion 1 of group 2", "six against the answer"))
        await pilot.press("k", "enter", "j")
        await until(pilot, sees(app, "Completion 2 of group 1", "it is 5 against the answer"))
        await pilot.press("left", "j")
        await until(pilot, sees(app, "Completion 1 of group 2"))
        await pilot.press("k", "l")
        await until(pilot, sees(app, "Completion 1 of group 1"))
        await pilot.press("left_square_bracket")
        await until(pilot, sees(app, "step 20", "logged step 2 of 3", "at 20: 2+2?"))
        await pilot.press("left_square_bracket")
        await until(pilot, sees(app, "step 10"))
        await pilot.press("left_square_bracket")
        assert "earlier: this is the first step" in shown(app)
        await pilot.press("right_square_bracket")
        await until(pilot, sees(app, "step 20"))
        await pilot.press("f")
        await until(pilot, sees(app, "step 30"))
        await pilot.press("t")
        await until(pilot, lambda: bool(app.screen.query(Input)))
        await pilot.press(*"15", "enter")
        await until(pilot, sees(app, "15 is no logged step", "told · step 30"))
        await pilot.press("t")
        await until(pilot, lambda: bool(app.screen.query(Input)))
        await pilot.press(*"10", "enter")
        await until(pilot, sees(app, "told · step 10"))
        await pilot.press("escape", "escape")
        assert isinstance(app.screen, MonitorScreen)


async def test_a_torn_step_is_passed_and_shown_once_it_is_whole(run: RunFolder) -> None:
    whole = file_of(run, 20).read_bytes()
    file_of(run, 20).write_bytes(whole[:500])
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        await pilot.press("left_square_bracket")
        await until(pilot, sees(app, "told · step 30", "rollouts of step 20 cannot be read"))
        await pilot.press("left_square_bracket")
        await until(pilot, sees(app, "told · step 10"))
        await pilot.press("right_square_bracket")
        await until(pilot, sees(app, "told · step 10", "rollouts of step 20 cannot be read"))
        file_of(run, 20).write_bytes(whole)
        await until(pilot, sees(app, "told · step 20", "at 20: 2+2?"))


async def test_completions_are_sorted_and_the_chosen_one_stays(run: RunFolder) -> None:
    log_step(run, 40, [("a?", "bad", 0.0, -1.0), ("a?", "good", 1.0, 0.0)])
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        assert shown(app).index("bad") < shown(app).index("good")
        await pilot.press("s")
        await until(pilot, sees(app, "sorted by reward", "Completion 1 of group 1, by reward"))
        assert shown(app).index("good") < shown(app).index("bad")


async def test_a_diff_of_the_marked_and_another_completion(run: RunFolder) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        await pilot.press("d")
        assert "diff: mark a completion with Space first" in shown(app)
        await pilot.press("enter", "space")
        await until(pilot, sees(app, "*  1"))
        await pilot.press("d")
        assert "diff: this one is marked: go to another" in shown(app)
        await pilot.press("j", "d")
        await until(pilot, sees(app, "Completion 2 against 1 of group 1 of step 30", "it is [-4-]{+5+}"))
        await pilot.press("left_square_bracket")  # the mark stays: how an answer changed over the steps
        await until(pilot, sees(app, "Completion 2 against 1 of group 1 of step 30", "step 20", "[-4-]{+5+}"))
        await pilot.press("d")
        await until(pilot, sees(app, "Completion 2 of group 1"))
        assert "[-4-]" not in shown(app)


async def test_search_goes_through_all_steps(run: RunFolder) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        await pilot.press("n")
        assert "next: nothing was searched for" in shown(app)
        await pilot.press("slash")
        await until(pilot, lambda: bool(app.screen.query(Input)))
        await pilot.press(*"SIX", "enter")
        await until(pilot, sees(app, "found 1 of 3", "step 30", "Completion 1 of group 2"))
        await pilot.press("n")
        await until(pilot, sees(app, "found 2 of 3", "step 20", "Completion 1 of group 2"))
        await pilot.press("n", "n")
        await until(pilot, sees(app, "no more found"))
        await pilot.press("N")
        await until(pilot, sees(app, "found 2 of 3", "step 20"))
        await pilot.press("slash")
        await until(pilot, lambda: bool(app.screen.query(Input)))
        app.screen.query_one(Input).value = "seven"
        await pilot.press("enter")
        await until(pilot, sees(app, "nothing found"))


async def test_a_live_run_is_followed_until_a_group_is_read(run: RunFolder) -> None:
    run.write_status(RunStatus("running", phase="training", step=30))
    app = Workstation("fake:none")
    with run.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(pilot, run)
            await until(pilot, sees(app, "step 30", "followed"))
            log_step(run, 40, ROWS)
            await until(pilot, sees(app, "step 40", "logged step 4 of 4, followed"))
            file_of(run, 50).write_bytes(file_of(run, 40).read_bytes()[:300])  # half written
            await until(pilot, sees(app, "step 50 cannot be read now", "told · step 40"))
            log_step(run, 50, ROWS)
            await until(pilot, sees(app, "told · step 50", "followed"))
            await pilot.press("enter")
            await until(pilot, sees(app, "stays at this step while you read"))
            log_step(run, 60, ROWS)
            await until(pilot, sees(app, "told · step 50", "logged step 5 of 6"))
            await pilot.press("f")
            await until(pilot, sees(app, "told · step 60", "followed"))


async def test_hostile_text_is_shown_and_does_nothing(run: RunFolder) -> None:
    hostile = "\x1b[2J[red]six[/red] \x1b]52;c;AAAA\x07 \u202eab\u2066"
    log_step(
        run, 40, [(f"{hostile} prompt", f"first {hostile}\tsecond", 1.0, 0.0), (f"{hostile} prompt", "", 0.0, 0.0)]
    )
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, run)
        text = shown(app)
        assert "first �[2J[red]six[/red] �]52;c;AAAA� �ab�" in text
        assert not {"\x1b", "\x07", "\u202e", "\u2066", "\t"} & set(text)
        assert all(len(line) <= 80 for line in text.splitlines())


async def test_a_completion_of_a_megabyte_scrolls_and_is_copied(run: RunFolder) -> None:
    long = "模型\n" + "word " * 200_000 + "\nthe end"
    log_step(run, 40, [("a?", long, 1.0, 0.0), ("a?", "x" * 1_000_000, 0.0, 0.0)])
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened_step(pilot, run, "step 40")
        await until(pilot, sees(app, "模型", "word word"))
        await pilot.press("enter", "enter", "G")
        await until(pilot, sees(app, "the end", "Prompt"))
        await pilot.press("g")
        await until(pilot, sees(app, "模型"))
        await pilot.press("y")
        assert app.clipboard == long
        await pilot.press("escape", "j", "space", "k", "d")
        await until(pilot, sees(app, "Completion 1 against 2", "[-xxxx"))


async def opened_step(pilot: Pilot[int], run: RunFolder, step: str) -> None:
    pilot.app.push_screen(RolloutsScreen(run))
    await until(pilot, lambda: step in shown(pilot.app))  # type: ignore[arg-type]


async def test_the_monitor_says_why_a_run_has_none(home: Path) -> None:
    sft = record(home)
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(MonitorScreen(sft))
        await until(pilot, sees(app, "finished"))
        await pilot.press("o")
        assert isinstance(app.screen, MonitorScreen)
        assert "rollouts: a sft run generates none" in shown(app)


async def test_a_run_whose_only_file_is_torn_says_so(home: Path) -> None:
    run = run_by_rewards(home)
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(RolloutsScreen(run))
        await until(pilot, sees(app, "it has logged none yet"))
        file_of(run, 1).parent.mkdir()
        file_of(run, 1).write_bytes(b"PAR1")
        await until(pilot, sees(app, "every file is torn"))
        await pilot.press("right_square_bracket", "enter", "d", "s", "space", "y", "j")
        assert "there are no rollouts yet" in shown(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, RolloutsScreen)


def test_the_command_prints_the_newest_step(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollouts", "told"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("step 30  2 groups, 1 without variance  (3 steps logged, 10 to 30)")
    assert lines[1] == "  group 1  mean 0.375  spread 0.884  at 30: 2+2?"
    assert lines[2] == "    best  #1 total 1  it is 4" and lines[3] == "    worst #2 total -0.25  it is 5"
    assert lines[4:] == ["  group 2  mean 1  no variance  at 30: 3+3?", "    first #1 total 1  six"]
    assert main(["rollouts", "told", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_the_command_prints_a_group_in_full(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    log_step(run, 10, [("a?", "bad", 0.0, 0.0), ("a?", "\x1b[2Jgood\nanswer", 1.0, 0.0)])
    assert main(["rollouts", "told", "--step", "10", "--group", "1", "--sort", "reward"]) == 0
    out = capsys.readouterr().out
    assert out.index("#2  total 1  advantage -1") < out.index("#1  total 0  advantage 0")
    assert "      �[2Jgood\n      answer" in out and "\x1b" not in out
    assert "correct 0  bad against the answer" in out
    assert main(["rollouts", "told", "--group", "3"]) == 2
    assert "step 30 has no group 3" in capsys.readouterr().err


def test_the_command_prints_one_json_object(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    log_step(run, 40, [("a?", "\x1b[2J", None, None), ("a?", "good", float("nan"), 1.0)])
    assert main(["rollouts", "told", "--json", "--sort", "reward"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["step"], told["steps"]) == (run.id, 40, [10, 20, 30, 40])
    (group,) = told["groups"]
    assert (group["prompt"], group["spread"], group["flat"]) == ("a?", 0.0, True)
    good, bad = group["rollouts"]
    assert good == {
        "position": 2, "completion": "good", "rewards": {"correct": None, "short": 1.0}, "total": 0.5,
        "reasons": {"correct": "good against the answer"}, "advantage": -1.0,
    }  # fmt: skip
    assert bad["completion"] == "\x1b[2J" and bad["total"] is None


def test_the_command_searches(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    file_of(run, 20).write_bytes(b"PAR1")
    assert main(["rollouts", "told", "--search", "SIX"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["step 30 group 2 #1 total 1  six", "step 10 group 2 #1 total 1  six"]
    assert told.err == "passed over, being written or torn: step 20\n"
    assert main(["rollouts", "told", "--search", "it is", "--step", "10", "--json", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"] == [{"step": 10, "group": 1, "position": 1}]


def test_the_command_says_why_there_are_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(home)
    assert main(["rollouts", "told"]) == 2
    assert "has no rollouts: a sft run generates none" in capsys.readouterr().err
    run = run_by_rewards(home)
    assert main(["rollouts", run.id]) == 2
    assert "it has logged none yet" in capsys.readouterr().err
    assert main(["rollouts", run.id, "--step", "4", "--json"]) == 2
    assert main(["rollouts", run.id, "--search", "x"]) == 2
