"""The pocket model on disk: built once, then found. Importing this loads no torch."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.home import burnish_home
from trainer.pocket.base import Pretraining, Progress
from trainer.pocket.world import SPLITS, Split, World

ROWS = {"train": 4000, "validation": 300, "test": 300}
TEXT = "text.jsonl"
PAIRS: dict[Split, str] = {
    "train": "pairs.jsonl",
    "validation": "pairs_validation.jsonl",
    "test": "pairs_test.jsonl",
}
_SOURCES = ("world.py", "tokenizer.py", "base.py", "cache.py")


def fingerprint(world: World, settings: Pretraining) -> str:
    """12 hex digits over what the model follows from: the code that makes it, the world's seed, the settings."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        digest.update(Path(__file__).with_name(source).read_bytes())
    digest.update(json.dumps([asdict(world), asdict(settings)]).encode())
    return digest.hexdigest()[:12]


def folder(home: Path | None = None) -> Path:
    """Where the model is or would be."""
    return (home or burnish_home()) / "pocket" / fingerprint(World(), Pretraining())


def is_built(home: Path | None = None) -> bool:
    return (folder(home) / "pocket.json").exists()


def ensure(home: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of the pocket model: weights, tokenizer, and the rows of `write_rows`. Built where it is missing.

    Two processes that ask at once build it once: the second waits for the first. A build that is killed leaves nothing
    that looks finished, since the folder gets its name only when it is whole.
    """
    final = folder(home)
    if is_built(home):
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_built(home):
            _build(final, World(), Pretraining(), progress)
    return final


def _build(final: Path, world: World, settings: Pretraining, progress: Progress | None) -> None:
    from transformers.utils import logging

    from trainer.pocket import base, tokenizer

    logging.disable_progress_bar()  # the caller tells its own progress
    for leftover in final.parent.glob("building-*"):  # of builds that were killed; the lock says nobody builds now
        shutil.rmtree(leftover)
    building = Path(tempfile.mkdtemp(prefix="building-", dir=final.parent))
    fast = tokenizer.build(world)
    base.pretrain(fast, world, settings, progress).save_pretrained(building)
    fast.save_pretrained(building)
    write_rows(building, world, ROWS)
    (building / "pocket.json").write_text(json.dumps({"world": asdict(world), "pretraining": asdict(settings)}))
    building.replace(final)


def write_rows(into: Path, world: World, counts: dict[str, int]) -> None:
    """The tasks of each split as `<split>.jsonl`, as pairs beside them, and plain text as `text.jsonl`."""
    for split in SPLITS:
        tasks = world.tasks(split, counts[split])
        _write(into / f"{split}.jsonl", [task.row() for task in tasks])
        _write(into / PAIRS[split], [task.pair() for task in tasks])
    # what continued pretraining takes
    _write(into / TEXT, [{"text": text} for text in islice(world.pretraining(), counts["train"])])


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def ensure_test_model(into: Path) -> Path:
    """The same architecture, tokenizer and rows in `into`, untrained, in seconds: for tests that train a few steps."""
    from trainer.pocket import base, tokenizer

    if not (into / "pocket.json").exists():
        into.mkdir(parents=True, exist_ok=True)
        world = World()
        fast = tokenizer.build(world)
        base.untrained(fast, Pretraining()).save_pretrained(into)
        fast.save_pretrained(into)
        write_rows(into, world, {"train": 200, "validation": 40, "test": 40})
        (into / "pocket.json").write_text("{}")
    return into
