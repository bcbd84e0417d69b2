"""What would make a run fail, found before anything is written. Reads files only; no torch, no transformers."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from recipes.errors import InputError
from recipes.schema import ROLLOUT, Recipe
from trainer.datasets.splits import Count, balance, converted, layout_of
from trainer.datasets.turns import text_of
from trainer.errors import DatasetError, ModelError, PreflightRefusal
from trainer.home import burnish_home
from trainer.planning.bases import check_folder
from trainer.planning.methods import check_method
from trainer.runs.lineage import Lineage
from trainer.text import one_line

_ROWS = 200_000  # rows looked at before a launch; the trainer looks at every one
_PROMPTS = 200
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_GIB = 1024**3


def check(recipe: Recipe, lineage: Lineage, home: Path | None = None) -> None:
    """Raises InputError (exit code 2) for bad input, PreflightRefusal (3) for what this box lacks; writes nothing."""
    if recipe.model.tuning == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        raise PreflightRefusal(
            "qlora needs bitsandbytes, which is not installed",
            "pip install 'burnish[quant]', or --set model.tuning=lora",
        )
    base = _base(lineage)
    if recipe.data.chat_template_path and not Path(recipe.data.chat_template_path).exists():
        raise InputError(
            f"data.chat_template_path: {recipe.data.chat_template_path} does not exist", "give a .jinja file"
        )
    columns: set[str] | None = None
    for given in (recipe.data.train, recipe.data.eval):
        if given is not None and given != "pocket":
            columns = _rows(Path(given), recipe, base)
    check_method(recipe, columns, home)
    _disk(recipe, base, home or burnish_home())


def _base(lineage: Lineage) -> Path | None:
    """The folder of the base where it is one. Raises ModelError."""
    base = lineage.base
    if base == "pocket":
        return None
    if Path(base).exists():
        check_folder(Path(base))
        return Path(base)
    if base.startswith(("/", ".", "~")) or not _HUB_ID.fullmatch(base):
        raise ModelError(f"model.base: {base} does not exist", "give a folder with a model, a hub id, or pocket")
    return None


def _rows(path: Path, recipe: Recipe, base: Path | None) -> set[str]:
    """The columns of the rows. Raises DatasetError for rows that cannot be trained on."""
    layout = layout_of(path, recipe.data, recipe.method)
    count = Count()
    examples = [example for _, example in islice(converted(path, layout, recipe.data, count), _ROWS)]
    if not examples:
        rules = ", ".join(f"{rows} dropped: {one_line(rule)}" for rule, rows in count.dropped.items())
        raise DatasetError(f"{path}: no row is left to train on ({rules})", "mend the rows, or give others")
    if recipe.method == "kto":
        balance(path, examples)
    longest = recipe.training.max_length
    if recipe.method not in ROLLOUT and base is not None and (base / "tokenizer.json").exists():
        prompts = [text for example in examples[:_PROMPTS] if (text := text_of(example.get("prompt", [])))]
        lengths = list(_token_counts(base / "tokenizer.json", prompts))
        if lengths and min(lengths) >= longest:
            raise DatasetError(
                f"{path}: every label is masked: the shortest of the first {len(lengths)} prompts has {min(lengths)} "
                f"tokens, training.max_length keeps {longest}, and no answer is left to learn from",
                f"--set training.max_length={max(lengths) * 2} or shorter prompts",
            )
    return set(examples[0])


def _token_counts(tokenizer: Path, texts: Iterable[str]) -> Iterable[int]:
    """Tokens of each text: at least so many has the prompt, before the template adds its own."""
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(tokenizer))
    return (len(loaded.encode(text, add_special_tokens=False).ids) for text in texts)


def _disk(recipe: Recipe, base: Path | None, home: Path) -> None:
    weights = sum(file.stat().st_size for file in base.glob("*.safetensors")) if base else 0
    # Full tuning keeps 32-bit weights and two moments, six times 16-bit weights; an adapter is about a hundredth.
    checkpoint = 6 * weights if recipe.model.tuning == "full" else weights // 16
    needed = checkpoint * (recipe.training.save_total_limit + 1) + recipe.resources.min_free_disk_gib * _GIB
    place = home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{place}: {free / _GIB:.1f} GiB are free, the run needs {needed / _GIB:.1f} GiB for checkpoints and a reserve",
            "make room, set BURNISH_HOME to a larger disk, or lower training.save_total_limit or "
            "resources.min_free_disk_gib",
        )
