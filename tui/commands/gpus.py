"""`burnish gpus`: what the box has and who uses it, as a table or as one JSON object."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from typing import Any

from trainer.devices.backend import open_backend
from trainer.devices.model import Gpu, GpuProcess, Host, Memory, Snapshot
from trainer.text import one_line

_HEAD = ("GPU", "NAME", "USED GiB", "FREE GiB", "UTIL", "POWER W", "TEMP C", "STATE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb; `--devices` and `--home` are global ones."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Prints the box once and returns 0, also where it has no GPU: the note says why. Raises InputError."""
    with closing(open_backend(args.devices, args.home)) as backend:
        snapshot = backend.snapshot()
    if args.json:
        print(json.dumps(as_object(snapshot), allow_nan=False))
    else:
        print("\n".join(as_table(snapshot)))
    return 0


def as_object(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot for a program: sizes in GiB, power in watts; null where the driver does not tell."""
    return {
        "devices": [_rounded(asdict(gpu)) for gpu in snapshot.gpus],
        "host": _rounded(asdict(snapshot.host)),
        "note": " ".join((snapshot.note, *snapshot.warnings)).strip(),
    }


def as_table(snapshot: Snapshot) -> list[str]:
    """The snapshot for a person: a line for each GPU, its processes below it, then the host and the note."""
    lines: list[str] = []
    if snapshot.gpus:
        rows = [_HEAD, *(_row(gpu) for gpu in snapshot.gpus)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
        printed = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines.append(printed[0].rstrip())
        for gpu, line in zip(snapshot.gpus, printed[1:], strict=True):
            lines += [line.rstrip(), *(f"     {_process(process)}" for process in gpu.processes)]
            if not gpu.processes_known and gpu.state == "ok":
                lines.append("     other processes may be hidden from here")
    lines.append(_host(snapshot.host))
    return [one_line(line) for line in (*lines, *filter(None, (snapshot.note, *snapshot.warnings)))]


def _row(gpu: Gpu) -> tuple[str, ...]:
    name = gpu.name if gpu.mig is None or gpu.mig in gpu.name else f"{gpu.name} (MIG {gpu.mig})"
    state = "; ".join(filter(None, (gpu.state, *gpu.throttle, gpu.note)))
    if gpu.memory_kind == "unified":
        state += "; shares the memory of the host"
    power = _number(gpu.power_w)
    if gpu.power_limit_w is not None:
        power += f" / {gpu.power_limit_w:.0f}"
    return (
        str(gpu.index),
        name,
        *_memory(gpu.memory),
        "-" if gpu.utilization is None else f"{gpu.utilization} %",
        power,
        _number(gpu.temperature_c),
        state,
    )


def _memory(memory: Memory | None) -> tuple[str, str]:
    return (
        ("-", "-") if memory is None else (f"{memory.used_gib:.1f} / {memory.total_gib:.1f}", f"{memory.free_gib:.1f}")
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _process(process: GpuProcess) -> str:
    used = "memory unknown" if process.used_gib is None else f"{process.used_gib:.1f} GiB"
    who = f"{process.user or '?'}  {process.name or '?'}"
    return f"pid {process.pid}  {who}  {used}" + (f"  run {process.run}" if process.run else "")


def _host(host: Host) -> str:
    where = " (container)" if host.container else " (WSL)" if host.wsl else ""
    return (
        f"{host.name}{where}: {host.cpu_count} CPUs at {host.cpu_percent:.0f} %, "
        f"memory {host.ram.used_gib:.1f} of {host.ram.total_gib:.1f} GiB used, "
        f"disk {host.disk.free_gib:.1f} of {host.disk.total_gib:.1f} GiB free at {host.disk_path}"
    )


def _rounded(value: Any) -> Any:
    """Numbers to three places: a driver's bytes in GiB would else fill the line with digits that mean nothing."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
