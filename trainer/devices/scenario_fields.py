"""The fields of a scenario file, checked one by one: what a person writes by hand is wrong in many ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from trainer.devices.model import GpuProcess, Memory
from trainer.text import one_line


class FieldError(Exception):
    """What is wrong with a field and where, as half a sentence for the message."""


def mapping(raw: Any, where: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    """`raw` as a mapping that has no other keys than `allowed`."""
    if not isinstance(raw, dict):
        raise FieldError(f"{where} is not a mapping of keys to values")
    for key in raw:
        if key not in allowed:
            raise FieldError(f"{where} has an unknown key {one_line(str(key))!r}; known are {', '.join(allowed)}")
    return raw


def listing(raw: Any, where: str) -> list[Any]:
    """`raw` as a list."""
    if not isinstance(raw, list):
        raise FieldError(f"{where} is not a list")
    return raw


def number(raw: Any, where: str) -> float:
    """A finite number that is not negative."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw) or raw < 0:
        raise FieldError(f"{where} is {raw!r} and not a number from 0 up")
    return float(raw)


def whole(raw: Any, where: str) -> int:
    """A whole number that is not negative."""
    value = number(raw, where)
    if value != int(value):
        raise FieldError(f"{where} is {raw!r} and not a whole number")
    return int(value)


def text(raw: Any, where: str) -> str:
    """A text made safe to show."""
    if not isinstance(raw, str):
        raise FieldError(f"{where} is {raw!r} and not a text")
    return one_line(raw)


def gpu_changes(raw: Any, where: str) -> dict[str, Any]:
    """The fields of a `Gpu` that an entry gives, checked, as keyword arguments. Raises FieldError."""
    entry = mapping(raw, where, tuple(_GPU))
    return {key: _GPU[key](value, f"{where}.{key}") for key, value in entry.items()}


def _memory(raw: Any, where: str) -> Memory:
    """`used_gib` and `total_gib`, and `free_gib` where it is not what is left."""
    entry = mapping(raw, where, ("used_gib", "free_gib", "total_gib"))
    used, total = (number(entry.get(key), f"{where}.{key}") for key in ("used_gib", "total_gib"))
    free = number(entry.get("free_gib", max(total - used, 0.0)), f"{where}.free_gib")
    if max(used, free) > total:
        raise FieldError(f"{where} has more used or free than in total")
    return Memory(used, free, total)


def _process(raw: Any, where: str) -> GpuProcess:
    entry = mapping(raw, where, tuple(_PROCESS))
    if "pid" not in entry:
        raise FieldError(f"{where} has no pid")
    return GpuProcess(**{key: _PROCESS[key](value, f"{where}.{key}") for key, value in entry.items()})


def _processes(raw: Any, where: str) -> tuple[GpuProcess, ...]:
    return tuple(_process(each, f"{where}[{place}]") for place, each in enumerate(listing(raw, where)))


def _texts(raw: Any, where: str) -> tuple[str, ...]:
    return tuple(text(each, f"{where}[{place}]") for place, each in enumerate(listing(raw, where)))


def _yes_or_no(raw: Any, where: str) -> bool:
    if not isinstance(raw, bool):
        raise FieldError(f"{where} is {raw!r} and not true or false")
    return raw


def _percent(raw: Any, where: str) -> int:
    value = whole(raw, where)
    if value > 100:
        raise FieldError(f"{where} is {value} and not a percentage")
    return value


def _one_of(*words: str) -> Callable[[Any, str], str]:
    def check(raw: Any, where: str) -> str:
        if raw not in words:
            raise FieldError(f"{where} is {raw!r} and not one of {', '.join(words)}")
        return str(raw)

    return check


def _or_none(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    return lambda raw, where: None if raw is None else check(raw, where)


_PROCESS: dict[str, Callable[[Any, str], Any]] = {
    "pid": whole,
    "used_gib": _or_none(number),
    "user": _or_none(text),
    "name": _or_none(text),
    "run": _or_none(text),
}

# The fields of `Gpu`, which a test compares with this table.
_GPU: dict[str, Callable[[Any, str], Any]] = {
    "index": whole,
    "uuid": text,
    "name": text,
    "state": _one_of("ok", "lost", "unreadable"),
    "memory": _or_none(_memory),
    "memory_kind": _one_of("device", "unified", "unknown"),
    "utilization": _or_none(_percent),
    "power_w": _or_none(number),
    "power_limit_w": _or_none(number),
    "temperature_c": _or_none(whole),
    "clock_sm_mhz": _or_none(whole),
    "clock_memory_mhz": _or_none(whole),
    "throttle": _texts,
    "mig": _or_none(text),
    "processes": _processes,
    "processes_known": _yes_or_no,
    "note": text,
}
