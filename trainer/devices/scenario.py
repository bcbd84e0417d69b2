"""A box told by a file: GPUs with the fields of `Gpu`, and frames that change them as time goes by.

    driver: "570.86"                 # all but `gpus` may be left out
    note: ""
    warnings: []
    gpus:
      - {index: 0, name: NVIDIA H200, memory: {used_gib: 1, free_gib: 139.4, total_gib: 140.4}, utilization: 0}
      - {index: 1, name: NVIDIA H200, processes: [{pid: 4121, used_gib: 70, user: mira, name: vllm}]}
    frames:
      - {at: 5, gpus: [{index: 1, state: lost}]}      # seconds after the backend was opened; changes stay

A file that is only a list is a list of GPUs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recipes.errors import InputError
from trainer.devices.host import read_host
from trainer.devices.model import Gpu, Snapshot
from trainer.devices.scenario_fields import FieldError, gpu_changes, listing, mapping, number, text

_HINT = "A scenario has `gpus`, a list with the fields of a GPU, and may have `frames`, `driver`, `note`, `warnings`."
_KEYS = ("gpus", "frames", "driver", "note", "warnings")


@dataclass(frozen=True)
class Scenario:
    """A box over time: `frames` are (seconds after the start, GPUs from then on), in order, the first one at 0."""

    frames: tuple[tuple[float, tuple[Gpu, ...]], ...]
    driver: str | None = None
    note: str = ""
    warnings: tuple[str, ...] = ()


class ScenarioBackend:
    """Plays a scenario from the first snapshot on; its last frame stays. The host is the real one."""

    def __init__(self, scenario: Scenario, home: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._scenario = scenario
        self._home = home
        self._clock = clock
        self._began: float | None = None

    def snapshot(self) -> Snapshot:
        """The box at this moment of the scenario."""
        now = self._clock()
        began = self._began = now if self._began is None else self._began
        gpus = [frame for at, frame in self._scenario.frames if at <= now - began][-1]
        told = self._scenario
        return Snapshot(time.time(), gpus, read_host(self._home), "scenario", told.driver, told.note, told.warnings)

    def close(self) -> None:
        """Nothing to let go of."""


def read_scenario(path: Path) -> Scenario:
    """The scenario in a JSON or YAML file. Raises InputError that names the file and the place in it."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(f"Cannot read the GPU scenario {path}: {reason}", _HINT) from error
    try:
        return _scenario(_parse(path, content))
    except FieldError as error:
        raise InputError(f"{path}: {error}", _HINT) from error


def _parse(path: Path, content: str) -> Any:
    if path.suffix.lower() == ".json":
        try:
            return json.loads(content)
        except ValueError as error:
            raise FieldError(f"this is not JSON: {error}") from error
    import yaml

    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise FieldError(f"this is not YAML: {error}") from error


def _scenario(raw: Any) -> Scenario:
    told = mapping({"gpus": raw} if isinstance(raw, list) else raw, "the file", _KEYS)
    gpus: list[Gpu] = []
    for place, entry in enumerate(listing(told.get("gpus"), "gpus")):
        changes = {"index": place, **gpu_changes(entry, f"gpus[{place}]")}
        if "name" not in changes:
            raise FieldError(f"gpus[{place}] has no name")
        gpus.append(Gpu(**{"uuid": f"GPU-scenario-{place}", **changes}))
    if len({gpu.uuid for gpu in gpus}) < len(gpus):
        raise FieldError("two GPUs have the same uuid")
    frames = [(0.0, tuple(gpus))]
    for place, entry in enumerate(listing(told.get("frames", []), "frames")):
        where = f"frames[{place}]"
        frame = mapping(entry, where, ("at", "gpus"))
        at = number(frame.get("at"), f"{where}.at")
        if at < frames[-1][0]:
            raise FieldError(f"{where}.at is {at:g}, but the frame before it is at {frames[-1][0]:g}")
        for nth, change in enumerate(listing(frame.get("gpus", []), f"{where}.gpus")):
            gpus = _changed(gpus, gpu_changes(change, f"{where}.gpus[{nth}]"), f"{where}.gpus[{nth}]")
        frames.append((at, tuple(gpus)))
    driver = told.get("driver")
    return Scenario(
        frames=tuple(frames),
        driver=None if driver is None else text(driver, "driver"),
        note=text(told.get("note", ""), "note"),
        warnings=tuple(text(each, "warnings") for each in listing(told.get("warnings", []), "warnings")),
    )


def _changed(gpus: list[Gpu], changes: dict[str, Any], where: str) -> list[Gpu]:
    """`gpus` with the changes on the one that their uuid names, else their index."""
    key = "uuid" if "uuid" in changes else "index"
    if key not in changes:
        raise FieldError(f"{where} says neither index nor uuid of the GPU that changes")
    chosen = [gpu for gpu in gpus if getattr(gpu, key) == changes[key]]
    if len(chosen) != 1:
        found = "no GPU" if not chosen else f"{len(chosen)} GPUs, which only their uuid tells apart,"
        raise FieldError(f"{where}: {found} with {key} {changes[key]}")
    return [replace(gpu, **changes) if gpu is chosen[0] else gpu for gpu in gpus]
