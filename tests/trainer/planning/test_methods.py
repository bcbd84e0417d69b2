"""What a method cannot start without is said before anything is written: rows, rewards, reward models, group sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipes.errors import BurnishError
from recipes.loading import load
from trainer.planning.start import start

Refused = Callable[..., BurnishError]
PAIR = {"prompt": "1+1?", "chosen": "2", "rejected": "3"}


@pytest.fixture
def refused(home: Path, tiny_model: Path, tmp_path: Path) -> Refused:
    """The one error of a start on the given rows that has to be refused; nothing may be written."""

    def refuse(recipe: str, *overrides: str, rows: list[dict[str, Any]] | None = None) -> BurnishError:
        file = tmp_path / "rows.jsonl"
        default = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(8)]
        file.write_text("".join(json.dumps(row) + "\n" for row in (default if rows is None else rows)))
        data = (f"data.train={file}", "data.eval=none", "resources.min_free_disk_gib=0.01")
        with pytest.raises(BurnishError) as error:
            start(load(recipe, [f"model.base={tiny_model}", *data, *overrides]), home=home, command=["test"])
        assert not home.exists()
        assert "\n" not in error.value.message
        return error.value

    return refuse


@pytest.mark.parametrize(
    ("recipe", "rows", "says"),
    [
        ("dpo", [{**PAIR, "rejected": "2"}], "1 dropped: chosen and rejected are the same"),
        ("dpo", [{**PAIR, "chosen": " "}], "chosen is empty"),
        ("dpo", [{**PAIR, "rejected": ""}], "rejected is empty"),
        (
            "dpo",
            [{"chosen": "\n\nHuman: 1+1?\n\nAssistant: 2", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 2"}],
            "prompts of chosen and rejected differ",
        ),
        ("dpo", [{"question": "1+1?", "answer": "2"}], "preference"),
        ("reward-model", [{"question": "1+1?", "answer": "2"}], "preference"),
        (
            "kto",
            [{"prompt": f"{n}+1?", "completion": "2", "label": n % 2 == 0 if n < 30 else "maybe"} for n in range(31)],
            "rows.jsonl:31: label is neither true nor false",
        ),
        ("kto", [{"prompt": "1+1?", "completion": "2", "label": True}] * 4, "label"),
        ("sft-lora", [PAIR], "preference pairs"),
        ("rft-math", [PAIR], "preference"),
    ],
)
def test_rows_that_a_method_cannot_learn_from(
    recipe: str, rows: list[dict[str, Any]], says: str, refused: Refused
) -> None:
    error = refused(recipe, rows=rows)
    assert says in error.message
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("recipe", "overrides", "says"),
    [
        (
            "rft-math",
            ("grpo.num_generations=5",),
            "grpo.num_generations=5 does not divide the 32 completions of a step",
        ),
        ("rft-math", ("rewards.correct.answer=solution",), "solution"),
        ("rft-math", ("rewards={}",), "reward"),
        ("rft-math", ("rewards.correct.weight=0", "rewards.length.weight=0"), "weight"),
        ("rft-json", ("rewards.format.json_schema={type: 3}",), "format"),
        ("rft-math", ("rewards.own={kind: function, file: /nowhere/mine.py}",), "/nowhere/mine.py"),
        ("rft-math", ("rewards.own={kind: regex, pattern: '(('}",), "own"),
        ("rlhf", (), "rewards.preference.base: there are no runs yet"),
        ("rlhf", ("rewards.preference.base=run:nowhere",), "rewards.preference.base"),
        ("kto", ("training.per_device_train_batch_size=1",), "the other rows of a batch"),
        ("dpo", ("dpo.loss_type=[sigmoid, sft]", "dpo.loss_weights=[1.0]"), "1 weights for 2 losses"),
        ("dpo", ("dpo.loss_type=exo_pair",), "label_smoothing"),
        ("dpo", ("dpo.sync_ref_model=true",), "sync_ref_model"),
        ("dpo", ("model.base=run:nowhere",), "no run"),
    ],
)
def test_settings_that_cannot_work(recipe: str, overrides: tuple[str, ...], says: str, refused: Refused) -> None:
    rows = None
    if recipe == "dpo":
        rows = [PAIR]
    if recipe == "kto":
        rows = [{"prompt": "1+1?", "completion": str(n), "label": n == 2} for n in range(4)]
    error = refused(recipe, *overrides, rows=rows)
    assert says in error.message
    assert error.exit_code == 2


def test_a_language_model_is_no_reward_model(refused: Refused, tiny_model: Path) -> None:
    error = refused("rlhf", f"rewards.preference.base={tiny_model}")
    assert "no score head" in error.message
    assert error.exit_code == 2


def test_vllm_is_asked_for_where_it_is_not_installed(refused: Refused) -> None:
    error = refused("rft-math", "grpo.use_vllm=true")
    assert "vLLM" in error.message
    assert error.exit_code == 3
