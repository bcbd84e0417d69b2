"""Every key of the recipe does something: each is changed, and its change is looked for where the work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.explain import HEADER
from recipes.loading import keys
from tests.trainer.worker.bench import Bench, write_files
from tests.trainer.worker.knobs import KNOBS

LEAVES = [key for key in keys() if key not in HEADER]


@pytest.fixture(scope="module")
def bench(tiny_model: Path, shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    files = tmp_path_factory.mktemp("files")
    write_files(files, tiny_model)
    return Bench(tiny_model, files, shared_home)


@pytest.mark.parametrize("key", LEAVES)
def test_a_changed_key_is_seen_where_the_work_is_done(key: str, bench: Bench) -> None:
    assert key in KNOBS, f"{key} has no entry in the table: say where its effect is seen"
    knob = KNOBS[key]
    before = knob.seen(bench, knob.load(bench))
    after = knob.seen(bench, knob.load(bench, f"{key}={knob.value}"))
    assert after != before
    assert after == knob.expected(bench)


def test_the_table_holds_the_keys_of_the_schema_and_no_others() -> None:
    assert list(KNOBS) == LEAVES
