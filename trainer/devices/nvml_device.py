"""One NVML handle read into a `Gpu`: every field on its own, so that one that is not told costs only itself."""

from __future__ import annotations

import re
from typing import Any, Literal

from trainer.devices.model import Gpu, Host, Memory
from trainer.devices.nvml_query import NOT_SUPPORTED, Answer, Query

_GIB = 1024**3
_MEMORY_V2 = 0x02000028
_SENSOR_GPU = 0
_CLOCK_SM, _CLOCK_MEMORY = 1, 2

# GPUs that share the RAM of the host. Where their driver gives numbers, it counts the page cache as used.
_UNIFIED = re.compile(r"\b(GB10|Orin|Thor|Xavier|nvgpu)\b", re.IGNORECASE)

# Bits of nvmlClocksEventReasons. That a GPU is idle (bit 0) holds nothing back and is left out.
_REASONS = (
    (0x002, "clocks set by hand"),
    (0x004, "power limit"),
    (0x008, "hardware slowdown"),
    (0x010, "kept in step with other GPUs"),
    (0x020, "too hot (driver)"),
    (0x040, "too hot (hardware)"),
    (0x080, "power brake from outside"),
    (0x100, "display clocks"),
    (0x200, "limit of the board"),
    (0x400, "voltage limit for reliability"),
)


def read_device(query: Query, handle: Any, index: int, host: Host) -> Gpu:
    """A physical GPU without its processes; `mig` is "parent" where it is sliced. Raises GpuLost and DriverGone."""
    name = query.text("nvmlDeviceGetName", handle) or f"GPU {index}"
    sliced = _is_sliced(query, handle)
    memory, kind, why = _memory(query, handle)
    unified = kind == "unified" or _UNIFIED.search(name) is not None
    if unified and not sliced:
        memory, kind, why = host.ram, "unified", ""
    elif kind == "unified":
        kind = "unknown"  # a sliced GPU has memory of its own, and the driver leaves it to the slices to tell it
    utilization = query.ask("nvmlDeviceGetUtilizationRates", handle)
    power = query.ask("nvmlDeviceGetPowerUsage", handle)
    temperature = _temperature(query, handle)
    # One field that is not told is normal; a GPU that tells none of them is in trouble.
    silent = all(answer.value is None for answer in (utilization, power, temperature)) and memory is None and not sliced
    limit_mw = query.number("nvmlDeviceGetEnforcedPowerLimit", handle)
    return Gpu(
        index=index,
        uuid=query.text("nvmlDeviceGetUUID", handle) or f"GPU-{index}",
        name=name,
        state="unreadable" if silent else "ok",
        memory=memory,
        memory_kind=kind,
        utilization=None if utilization.value is None else int(utilization.value.gpu),
        power_w=None if power.value is None else int(power.value) / 1000,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
        temperature_c=None if temperature.value is None else int(temperature.value),
        clock_sm_mhz=query.number("nvmlDeviceGetClockInfo", handle, _CLOCK_SM),
        clock_memory_mhz=query.number("nvmlDeviceGetClockInfo", handle, _CLOCK_MEMORY),
        throttle=_throttle(query, handle),
        mig="parent" if sliced else None,
        note=why,
    )


def read_slice(query: Query, handle: Any, parent: Gpu) -> Gpu:
    """A MIG slice without its processes, under the index of its parent: its uuid tells it from the other slices.

    Power, temperature and clocks belong to the whole GPU and stay None. Raises GpuLost and DriverGone.
    """
    memory, kind, why = _memory(query, handle)
    utilization = query.ask("nvmlDeviceGetUtilizationRates", handle).value
    name = query.text("nvmlDeviceGetName", handle) or parent.name
    return Gpu(
        index=parent.index,
        uuid=query.text("nvmlDeviceGetUUID", handle) or f"{parent.uuid}-slice",
        name=name,
        memory=memory,
        memory_kind=kind if memory is not None else "unknown",
        utilization=None if utilization is None else int(utilization.gpu),
        mig=_profile(query, handle, name),
        note=why,
    )


def _is_sliced(query: Query, handle: Any) -> bool:
    mode = query.ask("nvmlDeviceGetMigMode", handle).value
    # The pair is (now, after the next reset): only the first says what the GPU is today.
    return mode is not None and int(mode[0]) == 1


def _profile(query: Query, handle: Any, name: str) -> str:
    if " MIG " in name:
        return name.rpartition(" MIG ")[2]
    attributes = query.ask("nvmlDeviceGetAttributes", handle).value
    if attributes is None:
        return "slice"
    return f"{attributes.gpuInstanceSliceCount}g.{round(attributes.memorySizeMB / 1024)}gb"


def _memory(query: Query, handle: Any) -> tuple[Memory | None, Literal["device", "unified", "unknown"], str]:
    """Memory of a handle, its kind, and why there is none. "unified" says that the GPU has no memory of its own.

    `used` leaves out what the driver reserves for itself, as nvidia-smi does, so that used and free may add up to less
    than the total. Only drivers without the second version of the call count that reserve as used.
    """
    version = query.constant("nvmlMemory_v2", _MEMORY_V2)
    second = query.ask("nvmlDeviceGetMemoryInfo", handle, version)
    # WSL drivers have failed the second version with an unknown error and answered the first.
    answer = second if second.value is not None else query.ask("nvmlDeviceGetMemoryInfo", handle)
    if answer.value is not None and int(answer.value.total) > 0:
        info = answer.value
        return Memory(int(info.used) / _GIB, int(info.free) / _GIB, int(info.total) / _GIB), "device", ""
    if answer.value is not None or answer.code == NOT_SUPPORTED:
        return None, "unified", ""
    return None, "unknown", f"Memory: {answer.words}"


def _temperature(query: Query, handle: Any) -> Answer:
    newer = query.ask("nvmlDeviceGetTemperatureV", handle, _SENSOR_GPU)
    return newer if newer.value is not None else query.ask("nvmlDeviceGetTemperature", handle, _SENSOR_GPU)


def _throttle(query: Query, handle: Any) -> tuple[str, ...]:
    bits = query.number("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:  # the name that drivers before 535 know
        bits = query.number("nvmlDeviceGetCurrentClocksThrottleReasons", handle) or 0
    return tuple(words for bit, words in _REASONS if bits & bit)
