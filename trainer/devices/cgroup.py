"""The memory that the control group of this process allows, which in a container is less than the machine has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class CgroupMemory(NamedTuple):
    """Limit and use in bytes; the page cache that the kernel would drop is not counted as used."""

    limit: int
    used: int


def cgroup_memory(root: Path = Path("/")) -> CgroupMemory | None:
    """The tightest memory limit above this process, version 2 or 1, or None where there is none.

    `root` is the folder that holds `proc` and `sys`. Reads what it can and never raises.
    """
    groups = root / "sys" / "fs" / "cgroup"
    limits: list[CgroupMemory] = []
    for line in _lines(root / "proc" / "self" / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            limits += _up(groups, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            limits += _up(
                groups / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            )
    return min(limits, key=lambda each: each.limit, default=None)


def _up(top: Path, path: str, limit_name: str, used_name: str, cache_name: str) -> list[CgroupMemory]:
    """The limits of a group and of all above it: each of them holds, and a container may see only the topmost."""
    found = []
    group = top / path.strip("/")
    if ".." in group.parts:
        group = top  # a group outside of what this container sees
    for folder in (group, *group.parents):
        if not folder.is_relative_to(top):
            break
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            found.append(CgroupMemory(limit, max(used - _cache(folder / "memory.stat", cache_name), 0)))
    return found


def _cache(stat: Path, name: str) -> int:
    for line in _lines(stat):
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None  # version 2 writes "max" where there is no limit


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
