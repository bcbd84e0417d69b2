"""Where completions come from, what right answers and probes are, and whole trials on them with the real rewards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import TypeAdapter

from recipes.errors import InputError
from recipes.loading import load
from recipes.rewards import Reward
from recipes.schema import Recipe
from tests.rollout_files import file_of, log_step
from tests.waiting import wait_for_end, wait_until
from trainer.errors import DatasetError, LaunchError, ModelError
from trainer.evaluation.draw import Drawing
from trainer.rewards.completions import Task, drawn_from, from_file, from_run, sampled, tasks_of
from trainer.rewards.probes import probes
from trainer.rewards.references import skeleton
from trainer.rewards.trial import try_rewards
from trainer.runs.folder import RunFolder

GSM8K = Path(__file__).resolve().parents[4] / "shared" / "data" / "gsm8k" / "train.jsonl"
NUMERIC, TAGS = {"kind": "numeric"}, {"kind": "tags"}
OBJECT = {"type": "object", "required": ["answer", "ok"], "properties": {"ok": {"type": "boolean"}}}
CALL = {"name": "add", "arguments": {"a": 1}}


def blocks(**kinds: dict[str, Any]) -> dict[str, Reward]:
    return {name: TypeAdapter(Reward).validate_python(kind) for name, kind in kinds.items()}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_of(path: Path, rewards: dict[str, Any], *more: str) -> Recipe:
    return load("rft-math", [f"data.train={path}", f"rewards={json.dumps(rewards)}", *more]).recipe


def small(model: Path, *more: str) -> Recipe:
    """rft-json on the tiny model: short completions, few of them."""
    settings = (f"model.base={model}", f"data.train={model / 'train.jsonl'}", "grpo.max_completion_length=8")
    return load("rft-json", [*settings, "resources.cpu_threads=1", "resources.device=cpu", *more]).recipe


@pytest.mark.parametrize(
    ("row", "rewards", "wanted"),
    [
        ({"question": "2+2", "answer": "2+2=4\n#### 4"}, {"a": NUMERIC}, "2+2=4\n#### 4"),
        (
            {"question": "2+2", "answer": "2+2=4\n#### 4"},
            {"a": NUMERIC, "t": TAGS},
            "<think>\n2+2=4\n#### 4\n</think>\n<answer>\n4\n</answer>",
        ),
        ({"prompt": "2+2", "answer": "4"}, {"a": NUMERIC}, "\\boxed{4}"),
        ({"problem": "x", "answer": "\\frac{x}{2}"}, {"a": NUMERIC}, "\\boxed{\\frac{x}{2}}"),
        ({"prompt": "2+2", "answer": "4"}, {"a": {**NUMERIC, "extract": "(.)"}}, "4"),
        ({"prompt": "2+2", "answer": ["four", "4"]}, {"a": {"kind": "match"}}, "four"),
        (
            {"prompt": "2+2", "answer": 4},
            {"f": {"kind": "json", "json_schema": OBJECT}, "a": {"kind": "json_answer"}},
            '{"answer": 4, "ok": false}',
        ),
        (
            {"prompt": "add", "tool_calls": [CALL]},
            {"c": {"kind": "tool_call"}},
            f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
        ),
        (
            {"prompt": "def two():\n", "canonical_solution": "    return 2\n", "test": "assert two() == 2"},
            {"t": {"kind": "python_tests"}},
            "def two():\n    return 2\n",
        ),
        (
            {"messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]},
            {"a": NUMERIC},
            "\\boxed{4}",
        ),
        ({"prompt": "2+2", "mine": "4"}, {"r": {"kind": "regex", "pattern": "4"}}, None),
    ],
)
def test_the_right_answer_is_in_the_form_that_the_rewards_ask_for(
    tmp_path: Path, row: dict[str, Any], rewards: dict[str, Any], wanted: str | None
) -> None:
    (task,) = tasks_of(recipe_of(written(tmp_path / "rows.jsonl", row), rewards))
    assert task.reference == wanted and task.place == "rows.jsonl:1"


def test_what_counts_as_a_right_answer_gets_full_marks(tmp_path: Path) -> None:
    """Each form of the rewards above, scored by the rewards themselves."""
    rewards = {
        "call": {"kind": "tool_call"}, "fits": {"kind": "json_answer", "answer": "answer"},
        "form": {"kind": "json", "json_schema": OBJECT},
    }  # fmt: skip
    for name, row in (("call", {"prompt": "add", "tool_calls": CALL}), ("fits", {"prompt": "2+2", "answer": 4})):
        chosen = {key: rewards[key] for key in (["call"] if name == "call" else ["fits", "form"])}
        recipe = recipe_of(written(tmp_path / f"{name}.jsonl", row), chosen)
        trial = try_rewards(recipe, tasks_of(recipe))
        assert trial.report.references.scores == dict.fromkeys(chosen, 1.0)


def test_the_least_of_a_schema_fits_it() -> None:
    inner = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    schema = {
        "type": "object",
        "required": ["kind", "in", "any"],
        "properties": {"kind": {"enum": ["a", "b"]}, "in": inner},
    }
    assert skeleton(schema) == {"kind": "a", "in": {"n": 0}, "any": ""}
    assert skeleton(None) == {} and skeleton({"type": ["array", "null"]}) == []


def test_probes_fit_the_rewards_and_what_the_policy_may_say() -> None:
    tasks = [Task(f"r:{at}", "how many? " * 50, {"answer": at, "tool_calls": CALL}, str(at % 2)) for at in range(20)]
    found = {probe.name: probe for probe in probes(blocks(a=NUMERIC), tasks, 60)}
    general = [
        "empty",
        "the prompt echoed",
        "numbers 1..100",
        "long and empty",
        "another row's answer",
        "the answer repeated",
    ]
    assert list(found) == general
    assert all(len(probe.completions) == 8 for probe in found.values())
    assert {len(one.text) for one in found["the prompt echoed"].completions} == {60}
    assert {len(one.text) for one in found["long and empty"].completions} == {60}
    assert [one.text for one in found["another row's answer"].completions] == ["1", "0"] * 4
    assert found["the answer repeated"].completions[1].text == "\n".join(["1"] * 30)
    assert [name for name, probe in found.items() if probe.honest] == ["the answer repeated"]

    every = blocks(j={"kind": "json_answer"}, t=TAGS, c={"kind": "tool_call"}, p={"kind": "python_tests"})
    said = {probe.name: probe.completions[0].text for probe in probes(every, tasks, 60)}
    assert said["the form alone"] == '{"answer": ""}' and said["empty tags"] == "<think></think><answer></answer>"
    assert json.loads(said["always the same tool"].splitlines()[1]) == {"name": "add", "arguments": {}}
    assert "code that ends at once" in said


def test_rows_without_a_right_answer_have_no_probe_of_one() -> None:
    names = [probe.name for probe in probes(blocks(a=NUMERIC), [Task("r:1", "?", {})], 60)]
    assert "the answer repeated" not in names and "another row's answer" not in names


def test_a_file_of_completions_finds_its_columns_by_the_prompt_or_brings_them(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", {"question": "2+2", "answer": "4"}, {"question": "3+3", "answer": "6"})
    tasks = tasks_of(recipe_of(data, {"a": NUMERIC}))
    file = written(
        tmp_path / "said.jsonl",
        {"prompt": "3+3", "completions": ["6", "7"]},
        {"prompt": [{"role": "user", "content": "2+2"}], "completion": [{"role": "assistant", "content": "4"}]},
        {"prompt": "5+5", "completion": "", "answer": "10"},
        {"prompt": "3+3", "completion": "8", "answer": "eight"},
    )
    source = from_file(file, tasks)
    told = [(one.text, one.group, one.task.columns["answer"], one.task.reference) for one in source.completions]
    four, six = "\\boxed{4}", "\\boxed{6}"
    assert told == [
        ("6", 0, "6", six), ("7", 0, "6", six), ("4", 1, "4", four), ("", 2, "10", None), ("8", 0, "eight", six),
    ]  # fmt: skip
    assert [task.text for task in source.tasks(2)] == ["3+3", "2+2"]


@pytest.mark.parametrize("row", [{"prompt": "2+2"}, {"completion": "4"}, {"prompt": "2+2", "completions": [4]}])
def test_a_row_without_prompt_or_completion_is_named(tmp_path: Path, row: dict[str, Any]) -> None:
    file = written(tmp_path / "said.jsonl", {"prompt": "a", "completion": "b"}, row)
    with pytest.raises(DatasetError, match=r"said.jsonl:2 has no prompt and completion"):
        from_file(file, [])


def by_rewards(home: Path, data: Path) -> RunFolder:
    recipe = recipe_of(data, {"correct": NUMERIC}, "grpo.num_generations=2").model_dump()
    return RunFolder.create(home, name="told", method="grpo", recipe=recipe, origins={}, command=["x"])


def test_the_newest_rollouts_of_a_run_find_their_columns_in_its_data(tmp_path: Path) -> None:
    system = [{"role": "system", "content": "be brief"}]
    rows = [
        {"prompt": [*system, {"role": "user", "content": text}], "answer": str(at)} for at, text in enumerate("abc")
    ]
    run = by_rewards(tmp_path, written(tmp_path / "rows.jsonl", *rows))
    for step in (1, 3):
        asked = [rows[step // 2 + 1]["prompt"]] * 2 + [rows[0]["prompt"]] * 2
        log_step(run, step, [(prompt, f"{step}{at}", 1.0, 0.0) for at, prompt in enumerate(asked)])
    log_step(run, 2, [(rows[0]["prompt"], "torn", 1.0, 0.0)])
    file_of(run, 2).write_bytes(file_of(run, 2).read_bytes()[:40])
    source = from_run(run)
    assert source.told.endswith("steps 1 to 3")
    told = [(one.text, one.task.columns["answer"]) for one in source.completions]
    assert told == [
        ("30", "2"), ("31", "2"), ("32", "0"), ("33", "0"), ("10", "1"), ("11", "1"), ("12", "0"), ("13", "0"),
    ]  # fmt: skip
    assert len({one.group for one in source.completions}) == 4  # a prompt of two steps makes two groups

    written(tmp_path / "rows.jsonl", rows[0])
    with pytest.raises(DatasetError, match="not in its data any more: c"):
        from_run(run)


def test_rows_of_the_pocket_need_no_model(home: Path) -> None:
    recipe = load("rft-json").recipe
    tasks = tasks_of(recipe)
    assert len(tasks) == 4000 and not home.exists()
    some = drawn_from(tasks, 5, 42)
    assert some == drawn_from(tasks, 5, 42) != drawn_from(tasks, 5, 43)


def test_rft_json_on_the_pockets_rows_is_sound(tiny_model: Path) -> None:
    recipe = small(tiny_model, "grpo.max_completion_length=256")
    tasks = drawn_from(tasks_of(recipe), 16, 42)
    trial = try_rewards(recipe, tasks)
    assert trial.verdict == "right answers get full marks; no probe scores as well as a right answer"
    assert trial.report.references.scores == {"correct": 1.0, "format": 1.0, "length": 0.0}
    scores = {probe.name: probe.scores for probe in trial.report.probes}
    assert scores["the form alone"] == {"correct": 0.0, "format": 1.0, "length": 0.0}
    assert scores["{}"]["format"] == 0.0 and not trial.serious
    assert trial.report.n == trial.report.references.n == 16


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not beside this checkout, in ../shared/data/gsm8k")
def test_rft_math_on_gsm8k_is_sound() -> None:
    recipe = load("rft-math", [f"data.train={GSM8K}"]).recipe
    tasks = tasks_of(recipe)
    assert len(tasks) == 7473
    trial = try_rewards(recipe, drawn_from(tasks, 300, 42))
    assert trial.report.references.scores["correct"] == 1.0 and not trial.serious
    assert not any(trial.report.references.short.values())


def lax(tmp_path: Path, body: str, **more: Any) -> Recipe:
    """A recipe with one reward, a function of the test's."""
    code = tmp_path / "mine.py"
    code.write_text(f"def reward(completions, answer):\n    {body}\n")
    data = written(tmp_path / "rows.jsonl", *({"prompt": f"{at}+1?", "answer": str(at + 1)} for at in range(9)))
    right = {
        "mine": {"kind": "function", "file": str(code), "retries": 0, **more},
        "exact": {"kind": "match", "weight": 0.0},
    }
    return recipe_of(data, right)


def test_a_reward_that_takes_any_number_is_found_out(tmp_path: Path) -> None:
    recipe = lax(tmp_path, "return [float(a in c.split()) for a, c in zip(answer, completions)]")
    trial = try_rewards(recipe, tasks_of(recipe))
    assert [probe.name for probe in trial.report.probes if probe.exploits] == ["numbers 1..100"]
    assert trial.serious and "the probe `numbers 1..100` beats honest answers" in trial.verdict
    json.dumps(trial.as_object(), allow_nan=False)


def test_a_reward_that_fails_on_a_probe_is_told_and_the_trial_goes_on(tmp_path: Path) -> None:
    recipe = lax(tmp_path, "return [float(c.split()[0] == a) for a, c in zip(answer, completions)]", on_error="stop")
    trial = try_rewards(recipe, tasks_of(recipe))
    (empty,) = [probe for probe in trial.report.probes if probe.errors]
    assert (empty.name, empty.errors, empty.scores["mine"]) == ("empty", 8, None)
    assert [finding.about for finding in trial.findings if finding.kind == "probe-fails"] == ["empty"]


def test_a_wrong_column_is_refused_and_a_reward_model_left_out(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", {"question": "2+2", "answer": "4"})
    wrong = recipe_of(data, {"a": {**NUMERIC, "answer": "anwser"}})
    with pytest.raises(InputError, match="no column `anwser`"):
        try_rewards(wrong, tasks_of(wrong))
    model = {"kind": "model", "base": "run:scorer"}
    both = recipe_of(data, {"a": NUMERIC, "preference": model})
    trial = try_rewards(both, tasks_of(both))
    assert trial.report.left_out == ["preference"] and [one.name for one in trial.report.rewards] == ["a"]
    alone = recipe_of(data, {"preference": model})
    with pytest.raises(InputError, match="scored in the run only"):
        try_rewards(alone, tasks_of(alone))


def test_fresh_completions_are_those_of_the_seed_and_of_a_runs_adapter(
    home: Path, launch_tiny: Callable[..., RunFolder], tiny_model: Path
) -> None:
    run = launch_tiny("training.max_steps=2", "training.learning_rate=3e-2")
    recipe = small(tiny_model)
    tasks = drawn_from(tasks_of(recipe), 3, 42)
    told: list[str] = []

    def drawn(base: str | Path) -> list[list[str]]:
        with Drawing(small(tiny_model, f"model.base={base}"), [task.prompt for task in tasks], 4) as drawing:
            return drawing.wait(told.append)

    texts = drawn(tiny_model)
    assert [len(several) for several in texts] == [4, 4, 4] and len({text for several in texts for text in several}) > 6
    assert "drawing completion 1 of 12" in told
    trial = try_rewards(recipe, tasks, sampled(recipe, tasks, texts))
    assert trial.report.n == 12 and trial.report.groups
    assert trial.report.rewards[0].facts.zero_variance_share == 1.0  # an untrained model gets nothing right
    assert "no-spread" in [finding.kind for finding in trial.findings]

    assert wait_for_end(run).state == "finished"
    assert texts == drawn(tiny_model) != drawn(f"run:{run.id}")


def test_a_model_that_cannot_be_loaded_is_told(home: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Drawing(small(tiny_model, f"model.base={tmp_path / 'empty'}"), ["?"], 1) as drawing, pytest.raises(ModelError):
        drawing.wait(lambda _: None)


def test_drawing_ends_when_it_is_cancelled_and_when_its_parent_dies(home: Path, tiny_model: Path) -> None:
    with Drawing(small(tiny_model), ["?"], 1) as drawing:
        threading.Timer(0.2, drawing.cancel).start()
        with pytest.raises(LaunchError):
            drawing.wait(lambda _: None)

    code = (
        "import sys; from recipes.loading import load; from trainer.evaluation.draw import Drawing\n"
        "d = Drawing(load('rft-json', sys.argv[1:]).recipe, ['?'] * 4000, 8)\n"
        "print(d._process.pid, flush=True); d.wait(lambda text: print(text, flush=True))"
    )
    settings = [f"model.base={tiny_model}", "grpo.max_completion_length=1500", "resources.cpu_threads=1"]
    parent = subprocess.Popen([sys.executable, "-c", code, *settings], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    while not parent.stdout.readline().startswith("drawing"):  # from here on it says nothing for some seconds
        assert parent.poll() is None
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 2)
