"""Which tokens are trained, read from the labels that the model is given; and the refusals where nothing would be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recipes.schema import Recipe
from tests.trainer.worker.helpers import new_run, on_tiny, work_here
from trainer.errors import DatasetError
from trainer.worker import models
from trainer.worker.data import Masking, split_of
from trainer.worker.methods import METHODS
from trainer.worker.methods.common import Scene
from trainer.worker.proofs import prove_labels

TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Ana has 3 cups. How many?"},
    {"role": "assistant", "content": "3 cups."},
    {"role": "user", "content": "Ana loses 1 of them. How many?"},
    {"role": "assistant", "content": "2 cups."},
]
PAIR = {
    "prompt": [{"role": "user", "content": "Ana has 3 cups. How many?"}],
    "completion": [{"role": "assistant", "content": "3 cups."}],
}
NO_MARKERS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Built:
    """What a recipe's rows became on their way into the trainer."""

    trainer: Any
    tokenizer: Any
    masking: Masking
    rows_in: int

    def prove(self, collator: Callable[..., Any] | None = None) -> dict[str, Any]:
        return prove_labels(
            self.trainer.train_dataset,
            collator or self.trainer.data_collator,
            self.tokenizer,
            self.masking,
            self.rows_in,
        )

    def trained(self, row: int = 0) -> str:
        """The text of a row's tokens that the collator labels, in order."""
        labels = self.trainer.data_collator([self.trainer.train_dataset[row]])["labels"][0].tolist()
        return str(self.tokenizer.decode([label for label in labels if label != -100]))


def build(recipe: Recipe, out: Path) -> Built:
    """The trainer of a recipe, as an attempt builds it before its first step."""
    device = models.pick_device(recipe.resources)
    model, tokenizer = models.load(recipe, recipe.model.base, device)
    split = split_of(recipe, None)
    method = METHODS[recipe.method]
    rows = method.build_rows(recipe, split, tokenizer)
    config = method.build_config(recipe, device, out, rows)
    scene = Scene(device, out, recipe.model.base, lambda kind, message: None)
    trainer = method.build_trainer(recipe, config, model, tokenizer, rows, scene)
    return Built(trainer, tokenizer, rows.masking, len(split.train))


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def built(tiny_model: Path, tmp_path: Path) -> Callable[..., Built]:
    """Builds a full-tuning trainer on the given rows."""

    def make(*rows: dict[str, Any], overrides: tuple[str, ...] = (), model: Path = tiny_model) -> Built:
        file = write(tmp_path / "rows.jsonl", *rows)
        data = (f"data.train={file}", "data.eval=none", "data.eval_fraction=0")
        return build(on_tiny(model, "sft-full", *data, *overrides).recipe, tmp_path / "out")

    return make


@pytest.fixture
def unmarked(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with a chat template that does not say which part the assistant wrote."""
    folder = tmp_path / "unmarked"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(NO_MARKERS)
    return folder


def test_a_pair_trains_its_completion_and_the_end_of_it(built: Callable[..., Built]) -> None:
    made = built(PAIR)
    assert made.masking.name == "completion_only"
    assert made.trained() == "3 cups.<|im_end|>\n"
    proof = made.prove()
    assert proof["trained_text"] == "3 cups.<|im_end|>\n"
    assert proof["eos_trained"] == 1.0
    row = made.trainer.train_dataset[0]
    assert proof["trained_tokens"] == sum(label != -100 for label in row["labels"])
    assert proof["trained_tokens"] + proof["masked_tokens"] == len(row["input_ids"])
    prompt = made.tokenizer.apply_chat_template(PAIR["prompt"], add_generation_prompt=True)["input_ids"]
    assert proof["masked_tokens"] == len(prompt)


def test_a_conversation_trains_every_turn_of_the_assistant_and_nothing_else(built: Callable[..., Built]) -> None:
    made = built({"messages": TALK})
    assert made.masking.name == "assistant_only"
    assert made.trained() == "3 cups.<|im_end|>2 cups.<|im_end|>"
    assert made.prove()["eos_trained"] == 1.0


def test_plain_text_trains_everything_up_to_the_end_of_sequence(built: Callable[..., Built]) -> None:
    made = built({"text": "Ana has 3 cups."})
    assert made.masking.name == "none"
    assert made.trained() == "Ana has 3 cups.<|im_end|>"
    proof = made.prove()
    assert (proof["masked_tokens"], proof["eos_trained"]) == (0, 1.0)


def test_no_masking_trains_the_prompt_too(built: Callable[..., Built]) -> None:
    made = built(PAIR, overrides=("data.masking=none",))
    said = "<|im_start|>user\nAna has 3 cups. How many?<|im_end|>\n<|im_start|>assistant\n3 cups.<|im_end|>\n"
    assert made.trained() == said
    assert made.prove()["masked_tokens"] == 0


def test_a_template_without_markers_falls_back_to_the_last_answer(built: Callable[..., Built], unmarked: Path) -> None:
    made = built({"messages": TALK}, model=unmarked)
    assert made.masking.last_answer_only
    assert made.trained() == "2 cups.<|im_end|>\n"
    proof = made.prove()
    assert (proof["masking"], proof["last_answer_only"]) == ("completion_only", True)
    assert "3 cups." in made.tokenizer.decode(made.trainer.train_dataset[0]["input_ids"])


def test_asking_for_marks_that_the_template_lacks_is_refused(built: Callable[..., Built], unmarked: Path) -> None:
    with pytest.raises(DatasetError, match="generation") as error:
        built({"messages": TALK}, model=unmarked, overrides=("data.masking=assistant_only",))
    assert "data.chat_template_path" in error.value.hint


def test_a_template_given_in_the_recipe_decides_the_masks(
    built: Callable[..., Built], unmarked: Path, tmp_path: Path
) -> None:
    """What the hint of the refusal above promises: the given template's marks count, not those of the model's own."""
    template = tmp_path / "marked.jinja"
    template.write_text(MARKED)
    made = built({"messages": TALK}, model=unmarked, overrides=(f"data.chat_template_path={template}",))
    assert made.masking.name == "assistant_only"
    assert made.trained() == "3 cups.<|im_end|>2 cups.<|im_end|>"


def test_text_cannot_be_masked_by_turns(built: Callable[..., Built]) -> None:
    with pytest.raises(DatasetError, match="the rows are plain text"):
        built({"text": "Ana has 3 cups."}, overrides=("data.masking=completion_only",))


def test_rows_cut_to_nothing_are_counted_and_the_others_kept(tiny_model: Path, tmp_path: Path) -> None:
    long = {**PAIR, "prompt": [{"role": "user", "content": "Ana has 3 cups. " * 40}]}
    file = write(tmp_path / "rows.jsonl", PAIR, long, PAIR, long, PAIR)
    recipe = on_tiny(tiny_model, "sft-full", f"data.train={file}", "training.max_length=64", "training.max_steps=1")
    worked = work_here(new_run(recipe.recipe, tmp_path))
    assert worked.code == 0, worked.verdict
    (data,) = worked.events("data")
    assert data["dropped"] == {"cut to nothing by training.max_length": 2}
    assert (data["rows_read"], data["train_rows"]) == (5, 3)


def test_refuse_refuses_rows_that_are_cut_to_nothing(tiny_model: Path, tmp_path: Path) -> None:
    """What the schema says of `data.untrainable`: auto drops such rows with a count, refuse does not."""
    long = {**PAIR, "prompt": [{"role": "user", "content": "Ana has 3 cups. " * 40}]}
    file = write(tmp_path / "rows.jsonl", PAIR, long)
    recipe = on_tiny(
        tiny_model,
        "sft-full",
        *(f"data.train={file}", "training.max_length=64", "training.max_steps=1", "data.untrainable=refuse"),
    )
    worked = work_here(new_run(recipe.recipe, tmp_path))
    assert (worked.verdict["kind"], worked.verdict["exit_code"]) == ("bad-data", 2)
    assert "training.max_length" in worked.verdict["message"] + worked.verdict["hint"]


def test_a_length_that_cuts_every_answer_away_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    recipe = on_tiny(tiny_model, "sft-full", "training.max_length=4", "data.max_rows=8")
    worked = work_here(new_run(recipe.recipe, tmp_path))
    assert worked.code == 1
    assert "no row has a token that is trained" in worked.verdict["message"]
    assert "training.max_length" in worked.verdict["hint"]
    assert (worked.verdict["kind"], worked.verdict["exit_code"]) == ("bad-data", 2)
    assert worked.events("step") == []


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda batch: batch["labels"].masked_fill_(batch["labels"] == -100, 1), id="trains the prompt"),
        pytest.param(lambda batch: batch["labels"].fill_(-100), id="trains nothing"),
        pytest.param(lambda batch: batch["labels"].copy_(batch["labels"].roll(1, 1)), id="shifts by one"),
    ],
)
def test_a_collator_that_changes_labels_is_found_out(built: Callable[..., Built], harm: Callable[..., Any]) -> None:
    made = built(PAIR, {**PAIR, "completion": [{"role": "assistant", "content": "3 cups, as I said before."}]})

    def spoiled(rows: list[dict[str, Any]]) -> Any:
        batch = made.trainer.data_collator(rows)
        harm(batch)
        return batch

    made.prove()
    with pytest.raises(DatasetError, match="the collator's labels differ"):
        made.prove(spoiled)
