"""The box through NVML, the library of the NVIDIA driver. A box without it gives a snapshot that says why."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.devices.host import read_host
from trainer.devices.model import Gpu, GpuProcess, Host, Snapshot
from trainer.devices.nvml_device import read_device, read_slice
from trainer.devices.nvml_query import DriverGone, GpuLost, Query, failure_in_words
from trainer.devices.processes import private_pid_namespace, read_processes

# A driver that is being installed or reloaded comes back; asking for it on every tick would be for nothing.
_RETRY_S = 10.0
# Process lists cost milliseconds under the driver's global lock, which the training process needs too.
_PROCESSES_S = 5.0


class NvmlBackend:
    """Reads the GPUs through `pynvml`, which is imported and initialised at the first snapshot.

    `process_interval_s` is how old a list of processes may get and `retry_s` how long a driver that did not answer is
    left alone, both in seconds. `private_pids` says whether our pids differ
    from those of the driver; found out where it is None.
    """

    def __init__(
        self,
        home: Path,
        *,
        process_interval_s: float = _PROCESSES_S,
        retry_s: float = _RETRY_S,
        private_pids: bool | None = None,
    ) -> None:
        self._home = home
        self._process_interval_s = process_interval_s
        self._retry_s = retry_s
        self._private_pids = private_pid_namespace() if private_pids is None else private_pids
        self._nvml: Any = None
        self._driver: str | None = None
        self._why_not = ""
        self._retry_at = 0.0  # monotonic
        self._handles: dict[int, Any] = {}
        self._identities: dict[int, Gpu] = {}  # a lost GPU no longer tells its name
        self._processes: dict[str, tuple[float, tuple[GpuProcess, ...], bool]] = {}

    def snapshot(self) -> Snapshot:
        """The box now. A GPU that cannot be read is in it, with its state; without a driver `note` says why."""
        host = read_host(self._home)
        gpus: tuple[Gpu, ...] = ()
        if self._connect():
            try:
                gpus = self._read(Query(self._nvml), host)
            except DriverGone as error:
                self.close()
                self._give_up(str(error))
        note = self._why_not
        if self._nvml is not None and not gpus:
            note = "The NVIDIA driver answers, but shows no GPU"
        return Snapshot(time.time(), gpus, host, "nvml", self._driver, note)

    def close(self) -> None:
        """Shuts NVML down; the next snapshot would open it again."""
        if self._nvml is None:
            return
        nvml, self._nvml, self._driver = self._nvml, None, None
        self._handles.clear()
        self._processes.clear()
        Query(nvml).quietly("nvmlShutdown")

    def _connect(self) -> bool:
        if self._nvml is not None:
            return True
        if time.monotonic() < self._retry_at:
            return False
        try:
            import pynvml
        except ImportError:
            return self._give_up("The Python package nvidia-ml-py is not installed")
        try:
            pynvml.nvmlInit()
        except (pynvml.NVMLError, AttributeError, OSError) as error:
            return self._give_up(failure_in_words(error))
        self._nvml, self._why_not = pynvml, ""
        self._driver = Query(pynvml).text("nvmlSystemGetDriverVersion")
        return True

    def _give_up(self, why: str) -> bool:
        self._why_not, self._retry_at = why, time.monotonic() + self._retry_s
        return False

    def _read(self, query: Query, host: Host) -> tuple[Gpu, ...]:
        count = query.ask("nvmlDeviceGetCount")
        if count.value is None:
            raise DriverGone(f"The NVIDIA driver cannot count its GPUs: {count.words}")
        return tuple(gpu for index in range(count.value) for gpu in self._read_one(query, index, host))

    def _read_one(self, query: Query, index: int, host: Host) -> list[Gpu]:
        """One physical GPU, followed by its MIG slices."""
        known = self._identities.get(index) or Gpu(index, "", f"GPU {index}", memory_kind="unknown")
        try:
            if index not in self._handles:
                handle = query.ask("nvmlDeviceGetHandleByIndex", index)
                if handle.value is None:
                    return [replace(known, state="unreadable", processes_known=False, note=handle.words)]
                self._handles[index] = handle.value
            handle = self._handles[index]
            gpu = read_device(query, handle, index, host)
            self._identities[index] = Gpu(index, gpu.uuid, gpu.name, memory_kind=gpu.memory_kind)
            if gpu.mig is None:
                return [self._with_processes(query, handle, gpu, host)]
            # The processes of a parent are those of its slices: told once, where they run.
            slices = [(each, read_slice(query, each, gpu)) for each in query.mig_handles(handle)]
            return [gpu, *(self._with_processes(query, each, part, host) for each, part in slices)]
        except GpuLost as error:
            # A fresh handle is asked for at the next tick, in case the GPU was reset.
            self._handles.pop(index, None)
            return [replace(known, state="lost", processes_known=False, note=str(error))]

    def _with_processes(self, query: Query, handle: Any, gpu: Gpu, host: Host) -> Gpu:
        read_at, processes, known = self._processes.get(gpu.uuid, (float("-inf"), (), False))
        if time.monotonic() - read_at >= self._process_interval_s:
            processes, known = read_processes(query, handle, untrusted_pids=self._private_pids or host.wsl)
            self._processes[gpu.uuid] = (time.monotonic(), processes, known)
        return replace(gpu, processes=processes, processes_known=known)
