"""The one seam between burnish and the box: everything above asks a `Backend` and never a driver."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from recipes.errors import InputError
from trainer.devices.model import Snapshot
from trainer.home import burnish_home

_FAKE = re.compile(r"fake:(?P<model>[a-z0-9]+)x(?P<count>[0-9]+)")
_SCENARIO_SUFFIXES = (".json", ".yaml", ".yml")
_MOST_FAKES = 64  # more than any box has, and a typing slip cannot fill the memory


class Backend(Protocol):
    """Reads the box. Used by one thread at a time."""

    def snapshot(self) -> Snapshot:
        """The box as it is now: sizes in GiB, power in watts, clocks in MHz. Does not raise for a GPU that fails."""
        ...

    def close(self) -> None:
        """Lets go of the driver. A second call does nothing."""
        ...


def open_backend(spec: str = "nvml", home: Path | None = None) -> Backend:
    """The backend that `spec` names: `nvml`, `fake:h200x8` and its like, `fake:none`, or a scenario file.

    `home` is the folder whose disk the snapshots tell; the home of burnish where it is not given. `nvml` always opens:
    without a driver its snapshots have no GPU and a `note` that says why. Raises InputError for a spec that names
    nothing, and for a scenario file that is missing or wrong.
    """
    where = home if home is not None else burnish_home()
    # Imported here, so that a fake box needs no NVML and a real one no YAML.
    if spec == "nvml":
        from trainer.devices.nvml import NvmlBackend

        return NvmlBackend(where)
    if spec.startswith("fake:"):
        return _fake(spec, where)
    path = Path(spec).expanduser()
    if path.is_file() or path.suffix.lower() in _SCENARIO_SUFFIXES:
        from trainer.devices.scenario import ScenarioBackend, read_scenario

        return ScenarioBackend(read_scenario(path), where)
    raise InputError(f"No GPU backend is called {spec!r}", _hint())


def _fake(spec: str, home: Path) -> Backend:
    from trainer.devices.fake import MODELS, FakeBackend

    if spec == "fake:none":
        return FakeBackend(None, 0, home)
    match = _FAKE.fullmatch(spec)
    if match is None or match["model"] not in MODELS:
        raise InputError(f"No fake box is called {spec!r}", _hint())
    count = int(match["count"])
    if not 1 <= count <= _MOST_FAKES:
        raise InputError(f"{spec!r} asks for {count} GPUs", f"A fake box has 1 to {_MOST_FAKES} of them.")
    return FakeBackend(MODELS[match["model"]], count, home)


def _hint() -> str:
    from trainer.devices.fake import MODELS

    fakes = ", ".join(f"fake:{model}x8" for model in MODELS)
    return f"Use nvml, {fakes} (any number), fake:none, or the path of a JSON or YAML scenario file."
