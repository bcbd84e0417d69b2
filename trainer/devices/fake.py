"""Boxes that are not there: for demonstrations, screenshots and tests. The same second gives the same numbers."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.devices.host import read_host
from trainer.devices.model import Gpu, GpuProcess, Memory, Snapshot


@dataclass(frozen=True)
class FakeModel:
    """What a kind of GPU has: memory in GiB, power limit in watts, clocks in MHz."""

    name: str
    total_gib: float
    power_limit_w: float
    clock_sm_mhz: int
    clock_memory_mhz: int


MODELS = {
    "h200": FakeModel("NVIDIA H200", 140.4, 700.0, 1980, 3201),
    "a100": FakeModel("NVIDIA A100-SXM4-80GB", 80.0, 400.0, 1410, 1593),
    "rtx4090": FakeModel("NVIDIA GeForce RTX 4090", 24.0, 450.0, 2520, 10501),
}

# Other people's work, by GPU index modulo its length: the first GPU is free, so that a trial run finds a place.
# Each job is (pid, user, name, share of the GPU's memory).
_JOBS: tuple[tuple[tuple[int, str, str, float], ...], ...] = (
    (),
    ((48112, "mira", "python", 0.62),),
    (),
    ((51733, "jonas", "vllm", 0.71), (51990, "mira", "jupyter-lab", 0.04)),
)


class FakeBackend:
    """`count` GPUs of one model that breathe gently; none at all where `model` is None. The host is the real one."""

    def __init__(self, model: FakeModel | None, count: int, home: Path, clock: Callable[[], float] = time.time) -> None:
        self._model = model
        self._count = count
        self._home = home
        self._clock = clock

    def snapshot(self) -> Snapshot:
        """The fake GPUs at this second of the clock, and the real host."""
        now = self._clock()
        host = read_host(self._home)
        if self._model is None:
            return Snapshot(now, (), host, "fake", note="No GPU: a box without one was asked for")
        gpus = tuple(fake_gpu(self._model, index, round(now)) for index in range(self._count))
        return Snapshot(now, gpus, host, "fake", driver="fake", note="These GPUs are fake")

    def close(self) -> None:
        """Nothing to let go of."""


def fake_gpu(model: FakeModel, index: int, second: int) -> Gpu:
    """GPU number `index` at a unix second. Waves of some minutes, and a tremor that belongs to the second."""
    tremor = random.Random(f"{index}/{second}").uniform(-1, 1)
    wave = math.sin(second / 41 + index * 1.7)
    jobs = _JOBS[index % len(_JOBS)]
    busy = bool(jobs)
    utilization = round(88 + 9 * wave + 2 * tremor) if busy else 0
    power = model.power_limit_w * (0.82 + 0.17 * wave + 0.01 * tremor if busy else 0.11 + 0.003 * tremor)
    processes = tuple(
        GpuProcess(pid + 100 * index, share * model.total_gib * (1 + 0.02 * wave), user, name)
        for pid, user, name, share in jobs
    )
    used = 0.004 * model.total_gib + sum(process.used_gib or 0.0 for process in processes)
    capped = power > 0.97 * model.power_limit_w
    return Gpu(
        index=index,
        uuid=f"GPU-fa4e0000-0000-4000-8000-{index:012d}",
        name=model.name,
        memory=Memory(used, model.total_gib - used, model.total_gib),
        utilization=min(max(utilization, 0), 100),
        power_w=round(power, 1),
        power_limit_w=model.power_limit_w,
        temperature_c=round((62 + 7 * wave if busy else 33 + wave) + 0.4 * tremor),
        clock_sm_mhz=round(model.clock_sm_mhz * (0.93 if capped else 1.0)) if busy else 345,
        clock_memory_mhz=model.clock_memory_mhz,
        throttle=("power limit",) if capped else (),
        processes=processes,
    )
