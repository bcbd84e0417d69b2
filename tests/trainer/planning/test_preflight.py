"""What would make a run fail is refused before it starts: one error that says what and where, and nothing written."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from recipes.errors import BurnishError
from recipes.loading import Loaded, load
from trainer.planning.start import start
from trainer.runs.folder import RunFolder
from trainer.runs.registry import summaries

Starter = Callable[..., RunFolder]


@pytest.fixture
def launching(home: Path, tiny_model: Path) -> Starter:
    """Starts sft-lora on the tiny model with overrides: what the command line does after reading its arguments."""

    def begin(*overrides: str, recipe: str = "sft-lora", **more: Any) -> RunFolder:
        rows = (f"data.train={tiny_model / 'train.jsonl'}", f"data.eval={tiny_model / 'validation.jsonl'}")
        loaded = load(recipe, [f"model.base={tiny_model}", *rows, "resources.min_free_disk_gib=0.01", *overrides])
        return start(loaded, home=home, command=["test"], **more)

    return begin


@pytest.fixture
def refused(launching: Starter, home: Path) -> Callable[..., BurnishError]:
    """The one error of a start that has to be refused; fails where anything was written under the home."""

    def refuse(*overrides: str, **more: Any) -> BurnishError:
        with pytest.raises(BurnishError) as error:
            launching(*overrides, **more)
        assert not home.exists()
        assert "\n" not in error.value.message
        return error.value

    return refuse


Refused = Callable[..., BurnishError]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.lerning_rate=1", "--set: unknown key `training.lerning_rate`"),
        ("training.max_steps=soon", "--set training.max_steps=soon: `training.max_steps` cannot be `'soon'`"),
        ("sft.packing=3", "--set sft.packing=3: `sft.packing` cannot be `3`"),
        ("model.tuning=half", "--set model.tuning=half: `model.tuning` cannot be `'half'`"),
    ],
)
def test_a_recipe_that_does_not_fit_the_schema(override: str, says: str, refused: Refused) -> None:
    error = refused(override)
    assert says in error.message
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("method: sft\ntraining:\n  max_step: 3\n", "mine.yaml:3: unknown key `training.max_step`"),
        ("method: sft\ntraining:\n  seed: soon\n", "mine.yaml:3: `training.seed` cannot be `'soon'`"),
    ],
)
def test_a_recipe_file_is_named_with_the_line(text: str, says: str, refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    error = refused(recipe=str(file))
    assert says in error.message
    assert error.exit_code == 2


def without(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def pickled(folder: Path) -> None:
    without(folder, "*.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")


def torn(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def no_weights_inside(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>")


def an_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")


def one_shard_missing(folder: Path) -> None:
    shards = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.mark.parametrize(
    ("harm", "says", "hint"),
    [
        pytest.param(lambda folder: without(folder, "*.safetensors"), "{} has no weights", "copy", id="no weights"),
        pytest.param(pickled, "{} has pickle weights only", "safetensors", id="pickle"),
        pytest.param(torn, "{}/model.safetensors is torn", "copy", id="torn"),
        pytest.param(no_weights_inside, "{}/model.safetensors is not a safetensors file", "again", id="a page"),
        pytest.param(an_adapter, "{} has no config.json", "this is an adapter", id="adapter"),
        pytest.param(one_shard_missing, "model-00002-of-00002.safetensors first", "copy", id="shard"),
        pytest.param(lambda folder: without(folder, "tokenizer.json"), "{} has no tokenizer", "beside", id="tokenizer"),
        pytest.param(shutil.rmtree, "model.base: {} does not exist", "folder", id="missing"),
    ],
)
def test_a_base_that_cannot_be_loaded(
    harm: Callable[[Path], None], says: str, hint: str, refused: Refused, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_model, folder)
    harm(folder)
    error = refused(f"model.base={folder}")
    assert says.format(folder) in error.message
    assert str(folder) in error.message
    assert hint in error.hint
    assert error.exit_code == 2


GOOD = '{"question": "1+1?", "answer": "2"}\n'


@pytest.mark.parametrize("key", ["data.train", "data.eval"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(None, "{} does not exist", id="missing"),
        pytest.param("", "{} has no rows", id="empty"),
        pytest.param(GOOD * 2 + '{"question": "1+1?", "ans\n', "{}:3 is not JSON", id="torn line"),
        pytest.param(GOOD * 40 + "[1]\n", "{}:41 is a JSON list", id="no object"),
        pytest.param(GOOD * 40 + '{"question": "1+1?", "answer": ""}\n', "{}:41: answer is empty", id="no answer"),
        pytest.param('{"colour": "red", "size": 3}\n', "first has the columns colour, size", id="unknown columns"),
    ],
)
def test_a_dataset_that_cannot_be_trained_on(
    key: str, text: str | None, says: str, refused: Refused, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    if text is not None:
        file.write_text(text)
    error = refused(f"{key}={file}")
    assert says.format(file) in error.message
    assert str(file) in error.message
    assert error.hint
    assert error.exit_code == 2


def test_rows_whose_every_label_is_masked(refused: Refused, tiny_model: Path) -> None:
    error = refused("training.max_length=6")
    assert f"{tiny_model / 'train.jsonl'}: every label is masked" in error.message
    assert "training.max_length keeps 6" in error.message
    assert "training.max_length" in error.hint
    assert error.exit_code == 2


def test_a_chat_template_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    error = refused(f"data.chat_template_path={tmp_path / 'chat.jinja'}")
    assert f"data.chat_template_path: {tmp_path / 'chat.jinja'} does not exist" in error.message
    assert error.exit_code == 2


def test_too_little_room_on_the_disk(refused: Refused, home: Path) -> None:
    error = refused("resources.min_free_disk_gib=1e9")
    assert f"{home.parent}: " in error.message
    assert "the run needs 1000000000.0 GiB" in error.message
    assert "resources.min_free_disk_gib" in error.hint
    assert error.exit_code == 2


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "x" * 65, "two words"])
def test_a_name_that_is_no_plain_name(name: str, refused: Refused) -> None:
    error = refused(name=name)
    assert "cannot be the name of a run" in error.message
    assert error.exit_code == 2


def test_a_recipe_without_a_name_needs_one(home: Path, tiny_model: Path) -> None:
    loaded = load("sft-lora", [f"model.base={tiny_model}", f"data.train={tiny_model / 'train.jsonl'}"])
    nameless = Loaded(loaded.recipe.model_copy(update={"name": ""}), loaded.origins, loaded.source)
    with pytest.raises(BurnishError, match="`` cannot be the name of a run") as error:
        start(nameless, home=home, command=["test"])
    assert error.value.exit_code == 2
    assert not home.exists()


def test_a_box_without_bitsandbytes_is_refused_before_anything_is_read(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def find_all_but_one(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "bitsandbytes" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_one)
    error = refused("model.base=/nowhere", recipe="sft-qlora")
    assert "bitsandbytes" in error.message
    assert "burnish[quant]" in error.hint
    assert error.exit_code == 3


def test_what_is_good_is_launched(launching: Starter, home: Path) -> None:
    """The recipe that the refusals above start from: each of them is refused for its one harm only."""
    run = launching("training.max_steps=1")
    assert [found.id for found in summaries(home)] == [run.id]
