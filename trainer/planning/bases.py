"""Whether a folder holds a base model that can be loaded safely. Looks at names and heads of files only."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.errors import ModelError


def check_folder(folder: Path) -> None:
    """Raises ModelError unless the folder has a config, safetensors weights that are all there, and a tokenizer."""
    if not folder.is_dir():
        raise ModelError(f"{folder} does not exist", "give a hub id or a folder with a model")
    if not (folder / "config.json").exists():
        hint = "give the folder that holds config.json and the weights"
        if (folder / "adapter_config.json").exists():
            hint = "this is an adapter: give the base model that it was trained on, or merge the two first"
        raise ModelError(f"{folder} has no config.json", hint)
    try:
        json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} is not JSON: {error}", "fetch it again") from error
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
            raise ModelError(
                f"{folder} has pickle weights only, and loading those can run code",
                "take the safetensors version, or convert it where you trust its source",
            )
        raise ModelError(
            f"{folder} has no weights", "a folder of *.safetensors files is needed: was the copy finished?"
        )
    index = folder / "model.safetensors.index.json"
    named = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else set()
    if missing := sorted(named - {path.name for path in weights}):
        raise ModelError(f"{folder} lacks {len(missing)} of its weight files, {missing[0]} first", "finish the copy")
    for path in weights:
        _check_length(path)
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ModelError(
            f"{folder} has no tokenizer", "copy tokenizer.json and tokenizer_config.json beside the weights"
        )


def has_score_head(base: str) -> bool:
    """Whether a folder's model says that it classifies; of a hub id nothing is known before it is loaded."""
    config = Path(base) / "config.json"
    if not config.is_file():
        return True
    return any("SequenceClassification" in kind for kind in json.loads(config.read_text()).get("architectures") or [])


def _check_length(path: Path) -> None:
    """A safetensors file says in its head how long it is: a torn copy is found before it is loaded."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(size, 100 << 20)))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} is not a safetensors file", "fetch it again") from error
    if path.stat().st_size < 8 + size + max(ends, default=0):
        raise ModelError(f"{path} is torn: it is shorter than its head says", "finish the copy or fetch it again")
