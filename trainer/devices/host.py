"""The machine around the GPUs: processors, memory and the disk that runs are written to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

from trainer.devices.cgroup import cgroup_memory
from trainer.devices.model import Host, Memory
from trainer.text import one_line

_GIB = 1024**3
_CONTAINER_WORDS = ("docker", "kubepods", "containerd", "libpod", "lxc")


def read_host(path: Path) -> Host:
    """The host now, with the disk that holds `path` or, where that is not there yet, its nearest existing parent.

    Sizes in GiB. `cpu_percent` is over the time since the last call in this thread and 0 at the first one, because
    nothing here waits. Memory is what this process may use: the limit of a container where that is tighter.
    """
    disk_path, disk = _disk(path)
    return Host(
        name=one_line(socket.gethostname()),
        cpu_percent=psutil.cpu_percent(interval=None),
        cpu_count=_cpu_count(),
        ram=_ram(),
        disk=disk,
        disk_path=str(disk_path),
        load_1min=_load(),
        container=in_container(),
        wsl=in_wsl(),
    )


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container; `root` is the folder that holds `proc`."""
    if any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")):
        return True
    if "container" in os.environ or "KUBERNETES_SERVICE_HOST" in os.environ:
        return True
    groups = _text(root / "proc/1/cgroup")
    return any(word in groups for word in _CONTAINER_WORDS)


def in_wsl(root: Path = Path("/")) -> bool:
    """Whether the kernel is the one of the Windows Subsystem for Linux; `root` is the folder that holds `proc`."""
    return "microsoft" in _text(root / "proc/sys/kernel/osrelease").lower()


def _ram() -> Memory:
    machine = psutil.virtual_memory()
    total, free = int(machine.total), int(machine.available)
    limit = cgroup_memory()
    if limit is not None and limit.limit < total:
        # What the container may still take is no more than what the machine still has.
        total, free = limit.limit, min(max(limit.limit - limit.used, 0), free)
    return Memory((total - free) / _GIB, free / _GIB, total / _GIB)


def _disk(path: Path) -> tuple[Path, Memory]:
    here = path.expanduser().absolute()
    for folder in (here, *here.parents):
        try:
            usage = psutil.disk_usage(str(folder))
        except OSError:
            continue
        return folder, Memory(usage.used / _GIB, usage.free / _GIB, usage.total / _GIB)
    return here, Memory(0.0, 0.0, 0.0)


def _cpu_count() -> int:
    try:
        return len(os.sched_getaffinity(0))  # a container or a batch system may give us only some
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
