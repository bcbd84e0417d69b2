"""Who uses a GPU: the driver's process lists, and what the operating system knows of those pids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from trainer.devices.model import GpuProcess
from trainer.devices.nvml_query import FUNCTION_NOT_FOUND, Answer, Query
from trainer.text import one_line

_GIB = 1024**3
_NOT_TOLD = 0xFFFF_FFFF_FFFF_FFFF  # the driver's mark for a size that it does not know
# The number the Linux kernel gives to the first pid namespace, on every machine (PROC_PID_INIT_INO).
_FIRST_PID_NAMESPACE = "pid:[4026531836]"


def private_pid_namespace(own: Path = Path("/proc/self/ns/pid")) -> bool:
    """Whether our pids differ from those of the host, as in most containers; the link `own` tells."""
    try:
        return str(own.readlink()) != _FIRST_PID_NAMESPACE
    except OSError:
        return False  # no /proc to ask: not a Linux container


def read_processes(query: Query, handle: Any, *, untrusted_pids: bool) -> tuple[tuple[GpuProcess, ...], bool]:
    """The processes on a handle, most memory first, and whether the list can be taken as complete.

    A process that computes and draws is in two lists of the driver and here once. With `untrusted_pids` a pid may be
    the host's: it gets a user and a name only where our own process of that number holds a GPU device, and the list
    counts as incomplete. Raises GpuLost and DriverGone.
    """
    compute = _list(query, handle, "Compute")
    graphics = _list(query, handle, "Graphics")
    used: dict[int, float | None] = {}
    for entry in [*(compute.value or ()), *(graphics.value or ())]:
        pid, gib = int(entry.pid), _gib(entry.usedGpuMemory)
        before = used.get(pid)
        # Both lists tell the same memory, so the larger one is it and their sum would be twice that.
        used[pid] = gib if before is None else max(before, gib or 0.0)
    processes = [_describe(pid, gib, untrusted_pids) for pid, gib in used.items()]
    processes.sort(key=lambda process: (-(process.used_gib or 0.0), process.pid))
    return tuple(processes), compute.value is not None and not untrusted_pids


def _list(query: Query, handle: Any, kind: str) -> Answer:
    # Asked by version: the plain name fails with a warning of its own where the driver has only the older one.
    answer = query.ask(f"nvmlDeviceGet{kind}RunningProcesses_v3", handle)
    if answer.code == FUNCTION_NOT_FOUND:
        answer = query.ask(f"nvmlDeviceGet{kind}RunningProcesses_v2", handle)
    return answer


def _gib(size: int | None) -> float | None:
    return None if size is None or size == _NOT_TOLD else size / _GIB


def _describe(pid: int, used_gib: float | None, untrusted: bool) -> GpuProcess:
    if untrusted and not _holds_gpu(pid):
        return GpuProcess(pid, used_gib)
    try:
        process = psutil.Process(pid)
        return GpuProcess(pid, used_gib, one_line(process.username()), one_line(process.name()))
    except (psutil.Error, OSError, ValueError):
        return GpuProcess(pid, used_gib)  # gone by now, or not ours to look at


def _holds_gpu(pid: int) -> bool:
    """Whether our process of that number has a GPU device open, which a stranger with the same pid has not."""
    try:
        return any(
            str(link.readlink()).startswith(("/dev/nvidia", "/dev/dxg")) for link in Path(f"/proc/{pid}/fd").iterdir()
        )
    except OSError:
        return False
