"""`burnish reward test` and its screen: what is printed, the exit codes, the keys."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from recipes.loading import load
from tui import main
from tui.app import Workstation
from tui.screens.modals import Notice
from tui.screens.recipes import RecipeScreen, RecipesScreen
from tui.screens.rewards import Behind, RewardsScreen
from tui.widgets.lines import Picker

HOSTILE = "\x1b]52;c;AAAA\x07\x1b[2J"


@pytest.fixture
def settings(home: Path, tiny_model: Path) -> list[str]:
    """rft-json on the tiny model and its rows."""
    small = ("grpo.max_completion_length=8", "resources.cpu_threads=1", "resources.device=cpu")
    return [f"model.base={tiny_model}", f"data.train={tiny_model / 'train.jsonl'}", *small]


def words(settings: list[str], *more: str) -> list[str]:
    return ["reward", "test", "rft-json", *(f"--set={text}" for text in settings), *more]


def said(path: Path, tiny_model: Path, *answers: str) -> Path:
    """Completions of the first four rows: the right one, then `answers`, in which {} stands for the right number."""
    rows = [json.loads(line) for line in (tiny_model / "train.jsonl").read_text().splitlines()[:4]]
    with path.open("w") as out:
        for row in rows:
            texts = [row["completion"][0]["content"], *(text.replace("{}", str(row["answer"])) for text in answers)]
            out.write(json.dumps({"prompt": row["prompt"][0]["content"], "completions": texts}) + "\n")
    return path


def test_right_answers_and_probes_need_no_model(capsys: pytest.CaptureFixture[str], settings: list[str]) -> None:
    assert main.main(words([*settings[1:], "model.base=/nowhere"], "--no-samples", "--prompts", "5", "--json")) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["source"] == "the right answers of the data" and told["n"] == told["references"]["n"] == 5
    assert [reward["name"] for reward in told["rewards"]] == ["correct", "format", "length"]
    assert {"verdict", "recipe", "total", "disagreements", "probes", "slowest", "findings"} <= told.keys()
    assert not any(probe["exploits"] for probe in told["probes"]) and err == "scoring\n"


def test_the_verdict_is_the_first_line_and_no_escape_gets_through(
    capsys: pytest.CaptureFixture[str], settings: list[str], tiny_model: Path, tmp_path: Path
) -> None:
    file = said(tmp_path / "said.jsonl", tiny_model, '{"answer": {}}', '{"answer": 99}', f"{HOSTILE} it is {{}}")
    assert main.main(words(settings, "--completions", str(file))) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[0] == (
        "2 of 3 rewards have spread, `length` has none and teaches nothing; right answers get full marks; "
        "no probe scores as well as a right answer"
    )
    assert "16 completions" in out and "\x1b" not in out and "\x07" not in out
    assert "format at its top, correct at its bottom: 4 of 16" in out


def test_a_serious_finding_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], settings: list[str], tiny_model: Path, tmp_path: Path
) -> None:
    only_format = 'rewards={"format": {"kind": "json"}}'
    assert main.main(words([*settings, only_format], "--no-samples")) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert "beat honest answers" in first and "`{}`" in first
    same = said(tmp_path / "same.jsonl", tiny_model, '{"answer": {}}')
    assert main.main(words(settings, "--completions", str(same))) == 1
    assert capsys.readouterr().out.startswith("no reward has spread")


def test_what_cannot_be_tested_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], settings: list[str], tmp_path: Path
) -> None:
    assert main.main(["reward", "test", "sft-qlora"]) == 2
    assert "sft takes no rewards" in capsys.readouterr().err
    assert main.main(words(settings, "--completions", str(tmp_path / "none.jsonl"))) == 2
    assert main.main(words(settings, "--run", "nothing")) == 2
    with pytest.raises(SystemExit) as left:
        main.main(words(settings, "--run", "a", "--no-samples"))
    assert left.value.code == 2


def test_fresh_completions_by_the_command(capsys: pytest.CaptureFixture[str], settings: list[str]) -> None:
    code = main.main(words(settings, "--prompts", "2", "--generations", "3", "--json"))
    out, err = capsys.readouterr()
    assert code == 1 and json.loads(out)["n"] == 6  # an untrained model: no reward has spread
    assert "drawing completion 1 of 6" in err


def test_neither_textual_nor_torch_is_loaded_by_the_command() -> None:
    code = "import sys, tui.main, tui.commands.reward, trainer.evaluation.draw; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"textual", "torch", "transformers", "datasets", "trl"} & set(loaded)


def shown(app: Workstation) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Pilot[Any], true: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, shown(pilot.app)  # type: ignore[arg-type]
        await pilot.pause(0.1)


async def test_t_tests_the_rewards_of_a_recipe_that_has_some(home: Path) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "sft-qlora" in shown(app))
        library = app.screen
        assert isinstance(library, RecipesScreen)
        order = [loaded.recipe.name for loaded in library._library]
        library.query_one(Picker).choose(order.index("cpt"))
        await pilot.press("t")
        await until(pilot, lambda: "test rewards: cpt takes no rewards" in shown(app))
        library.query_one(Picker).choose(order.index("rft-json"))
        await pilot.press("t")
        await until(pilot, lambda: "right answers get full marks" in shown(app))
        assert "Rewards of rft-json" in shown(app) and "right answers (16)" in shown(app)
        await pilot.press("escape", "enter")
        await until(pilot, lambda: isinstance(app.screen, RecipeScreen))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, RewardsScreen))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_number_has_its_completions_behind_it(
    settings: list[str], tmp_path: Path, size: tuple[int, int]
) -> None:
    rows = [{"prompt": f"{HOSTILE}{at}+1?", "answer": f"{at + 1}{HOSTILE}"} for at in range(3)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load(
        "rft-json", [*settings, f"data.train={data}", 'rewards={"a": {"kind": "match", "extract": "(\\\\d)$"}}']
    )
    app = Workstation("fake:none")
    async with app.run_test(size=size) as pilot:
        await app.push_screen(RewardsScreen(loaded))
        await until(pilot, lambda: "STOP  the right answer of rows.jsonl:1 scores 0 on `a`" in shown(app))
        assert "what to do" in shown(app) and all(len(line) <= size[0] for line in shown(app).splitlines())
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Behind) and "a: 3 completions" in shown(app))
        assert "a 0  `extract` matches nothing" in shown(app) and "\x1b" not in shown(app)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, RewardsScreen))
        await pilot.press("j", "enter")
        await until(pilot, lambda: "there are no completions behind this row" in shown(app))


async def test_f_draws_and_leaving_ends_it(settings: list[str]) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = RewardsScreen(load("rft-json", settings))
        await app.push_screen(screen)
        await until(pilot, lambda: "right answers (16)" in shown(app))
        await pilot.press("f", "f")
        await until(pilot, lambda: "fresh: it is " in shown(app))
        await until(pilot, lambda: "128 completions: fresh, of 16 prompts" in shown(app), 120)
        assert "no reward has spread" in shown(app) and "median completion" in shown(app)
        await pilot.press("f")
        await until(pilot, lambda: "loading" in shown(app))
        drawing = screen._drawing
        await pilot.press("escape")
        assert drawing is not None
        await until(pilot, lambda: drawing._process.poll() == -signal.SIGKILL)
        await pilot.pause(0.3)
        assert not isinstance(app.screen, Notice)


async def test_rewards_that_do_not_fit_are_refused_with_the_reason(settings: list[str]) -> None:
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(RewardsScreen(load("rft-json", [*settings, "rewards.correct.answer=nowhere"])))
        await until(pilot, lambda: isinstance(app.screen, Notice) and "no column `nowhere`" in shown(app))
        await pilot.press("enter", "f")
        await until(pilot, lambda: "fresh: the rewards cannot be tested" in shown(app))


async def test_keys_that_come_at_once_are_answered_in_their_order(settings: list[str]) -> None:
    """A slow link brings a burst: Enter is asked about the row that the two keys before it went to."""
    app = Workstation("fake:none")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(RewardsScreen(load("rft-json", settings)))
        await until(pilot, lambda: "right answers get full marks" in shown(app))
        for key in ("j", "j", "enter"):
            app.simulate_key(key)
        await until(pilot, lambda: isinstance(app.screen, Behind))
