"""What a box has, as values: read once, then passed around. Sizes in GiB (1024^3), power in watts, clocks in MHz."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Memory:
    """Memory of one device, or of the host."""

    used_gib: float
    free_gib: float
    total_gib: float


@dataclass(frozen=True)
class GpuProcess:
    """A process that holds memory on a GPU, as the driver tells it.

    `used_gib` is None where the driver does not say (WSL, some containers); `user` and `name` are None where the pid
    is not of our pid namespace; `run` is the id of the burnish run it belongs to, filled in by who knows the runs.
    """

    pid: int
    used_gib: float | None = None
    user: str | None = None
    name: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU or one MIG slice of it. None means that the driver does not tell."""

    index: int
    uuid: str
    name: str
    state: Literal["ok", "lost", "unreadable"] = "ok"
    memory: Memory | None = None
    memory_kind: Literal["device", "unified", "unknown"] = "device"
    utilization: int | None = None  # percent of the last sample window in which a kernel ran
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: int | None = None
    clock_sm_mhz: int | None = None
    clock_memory_mhz: int | None = None
    throttle: tuple[str, ...] = ()  # why the clocks are held down, in words
    mig: str | None = None  # "parent" of slices, or the profile of this slice
    processes: tuple[GpuProcess, ...] = ()
    processes_known: bool = True  # False where a container or the driver hides them
    note: str = ""


@dataclass(frozen=True)
class Host:
    """The machine around the GPUs."""

    name: str
    cpu_percent: float
    cpu_count: int
    ram: Memory
    disk: Memory
    disk_path: str
    load_1min: float = 0.0
    container: bool = False
    wsl: bool = False


@dataclass(frozen=True)
class Snapshot:
    """One reading of the whole box. `note` says why there is no GPU where there is none."""

    taken_at: float  # unix seconds
    gpus: tuple[Gpu, ...]
    host: Host
    backend: str = "nvml"
    driver: str | None = None
    note: str = ""
    warnings: tuple[str, ...] = field(default=())
