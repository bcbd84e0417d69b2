"""Recipes load with the origin of every value, and bad ones are refused with file, line, key and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.errors import RecipeError
from recipes.explain import as_yaml, settings
from recipes.loading import Loaded, from_text, load, names, override


def test_the_library_has_the_promised_recipes() -> None:
    assert {"cpt", "sft-full", "sft-lora", "sft-qlora"} <= set(names())
    bases = {load(name).recipe.model.base.split("/")[0] for name in names()}
    assert {"pocket", "meta-llama", "Qwen", "mistralai", "google"} == bases


@pytest.mark.parametrize("name", names())
def test_every_library_recipe_survives_the_editor(name: str) -> None:
    loaded = load(name)
    assert loaded.recipe.summary
    assert from_text(as_yaml(loaded), loaded.source, "edited").recipe == loaded.recipe


def test_values_know_where_they_came_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: sft-qlora\ntraining:\n  max_steps: 7\n")
    loaded = load(str(file), ["training.learning_rate=1e-3"])
    assert loaded.recipe.training.max_steps == 7
    assert loaded.recipe.training.learning_rate == 1e-3
    assert loaded.origin("training.max_steps") == f"{file}:3"
    assert loaded.origin("training.learning_rate") == "--set"
    assert loaded.origin("model.lora.r") == "library sft-qlora"
    assert loaded.origin("training.seed") == "default"


def test_a_recipe_may_extend_its_neighbour_but_not_itself(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\nmodel: {lora: {r: 8}}\n")
    (tmp_path / "b.yaml").write_text("extends: sft-lora\nmodel: {lora: {r: 64, lora_alpha: 64}}\n")
    lora = load(str(tmp_path / "a.yaml")).recipe.model.lora
    assert (lora.r, lora.lora_alpha) == (8, 64)
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(RecipeError, match="extends itself"):
        load(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("model.revision=1.0", "model.revision", "1.0"),
        ("data.eval=none", "data.eval", None),
        ("model.lora.target_modules=[q_proj, v_proj]", "model.lora.target_modules", ["q_proj", "v_proj"]),
        ("training.extra.group_by_length=true", "training.extra", {"group_by_length": True}),
        ("data.columns.prompt=question", "data.columns", {"prompt": "question"}),
        ("training.learning_rate=2e-4", "training.learning_rate", 2e-4),
    ],
)
def test_overrides_are_read_as_the_field_wants(text: str, key: str, value: object) -> None:
    values = {setting.key: setting.value for setting in settings(load("sft-qlora", [text]))}
    assert values[key] == value


def test_overrides_of_overrides_keep_the_earlier_ones() -> None:
    loaded = load("sft-qlora", ["training.extra.a=1", "data.columns.prompt=q"])
    again = override(loaded, ["training.extra.b=2", "data.columns.completion=r"], "edited")
    assert again.recipe.training.extra == {"a": 1, "b": 2}
    assert again.recipe.data.columns == {"prompt": "q", "completion": "r"}
    assert loaded.recipe.training.extra == {"a": 1}
    assert again.origin("model.lora.r") == "library sft-qlora"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("training.lerning_rate=1", "unknown key `training.lerning_rate`", "training.learning_rate"),
        ("lora.r=3", "unknown key `lora.r`", "model.lora.r"),
        ("training=3", "group of settings", "max_steps"),
        ("model.lora.r=many", "model.lora.r", "rank"),
        ("model.lora.r=true", "model.lora.r", "rank"),
        ("model.lora.r=0", "greater than 0", "rank"),
        ("method=dance", "`method`", "sft"),
        ("model.lora.target_modules=[1]", "target_modules", "layers"),
        ("learning_rate", "not KEY=VALUE", "--set"),
    ],
)
def test_a_bad_override_is_one_clear_error(text: str, message: str, hint: str) -> None:
    with pytest.raises(RecipeError) as error:
        load("sft-qlora", [text])
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: sft\ntrainig:\n  seed: 1\n", "r.yaml:3: unknown key `trainig.seed`"),
        ("method: sft\ntraining:\n  seed: soon\n", "r.yaml:3: `training.seed` cannot be `'soon'`"),
        ("method: [sft\n", "is not YAML"),
        ("- sft\n", "r.yaml:1 is not a map"),
        ("extends: [a, b]\n", "takes one recipe"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as error:
        load(str(file))
    assert message in error.value.message


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError) as error:
        load("sft-qlra")
    assert "sft-qlora" in error.value.hint


def test_yaml_cannot_build_objects(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("method: !!python/object/apply:os.system ['touch hit']\n")
    with pytest.raises(RecipeError):
        load(str(file))


def test_settings_carry_meaning_and_choices() -> None:
    loaded: Loaded = load("sft-qlora")
    by_key = {setting.key: setting for setting in settings(loaded)}
    assert all(setting.meaning for setting in by_key.values())
    assert "nf4" in by_key["model.quantization.bnb_4bit_quant_type"].choices
    assert by_key["sft.packing"].choices == ("true", "false")
