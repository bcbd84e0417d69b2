"""Facts as lines of the screen: the GPUs, the host, a run. Pure functions; what they show was made safe here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainer.text import one_line
from tui import glyphs
from tui.headline import headline
from tui.units import duration
from tui.widgets.lines import Line, fitted

if TYPE_CHECKING:  # the first frame is painted before there are any
    from trainer.devices.model import Gpu, Host, Memory, Snapshot
    from trainer.runs.model import RunSummary

_BUSY, _FULL = 0.75, 0.92


def gpu_lines(snapshot: Snapshot, owners: Mapping[int, str], width: int, style: glyphs.Style) -> list[Line]:
    """One line a GPU, and one more a process where there is room for it. `owners`: pid to the name of our run."""
    lines: list[Line] = []
    for gpu in snapshot.gpus:
        lines.append(_gpu(gpu, owners, width, style))
        if gpu.note:
            lines.append([(fitted(f"    {one_line(gpu.note)}", width), "dim")])
    for note in (snapshot.note, *snapshot.warnings):
        if note:
            lines.append([(fitted(f" {one_line(note)}", width), "warn")])
    return lines


def _gpu(gpu: Gpu, owners: Mapping[int, str], width: int, style: glyphs.Style) -> Line:
    name = one_line(gpu.name).removeprefix("NVIDIA ").removeprefix("GeForce ")
    if gpu.mig:
        name = f"{name} {one_line(gpu.mig)}" if gpu.mig != "parent" else f"{name} (MIG)"
    head = f"{gpu.index:>2} {fitted(name, 9 if width < 100 else 18)} "
    if gpu.state != "ok":
        return [(head, "bold"), (f"{gpu.state}: the driver gives no answer; `burnish doctor`", "trouble")]
    bar_width = 10 if width < 100 else 24
    if gpu.memory is None:
        memory: list[tuple[str, str]] = [(fitted("memory not told", bar_width + 17), "dim")]
    else:
        memory = _bar(gpu.memory, bar_width, style)
        if gpu.memory_kind == "unified":
            memory.append((" shared", "dim"))
    figures = "".join(
        f"{fitted(text, cells):>{cells}}"
        for text, cells in (
            (f"{gpu.utilization}%" if gpu.utilization is not None else "", 5),
            (f"{gpu.power_w:.0f}W" if gpu.power_w is not None else "", 6),
            (f"{gpu.temperature_c}C" if gpu.temperature_c is not None else "", 5),
            (
                f"{gpu.clock_sm_mhz}MHz" if gpu.clock_sm_mhz is not None and width >= 100 else "",
                8 if width >= 100 else 0,
            ),
        )
        if cells
    )
    line: list[tuple[str, str]] = [(head, "bold"), *memory, (figures, "warn" if gpu.throttle else ""), ("  ", "")]
    room = width - sum(len(text) for text, _ in line)
    throttled = f" ({', '.join(gpu.throttle)})" if gpu.throttle and width >= 100 else ""
    line.append((fitted(_users(gpu, owners) + throttled, max(room, 0)), "accent" if _is_ours(gpu, owners) else "dim"))
    return line


def _is_ours(gpu: Gpu, owners: Mapping[int, str]) -> bool:
    return any(process.pid in owners or process.run for process in gpu.processes)


def _users(gpu: Gpu, owners: Mapping[int, str]) -> str:
    """Who holds memory: our runs by name, others by user and pid."""
    if not gpu.processes:
        return "" if gpu.processes_known else "processes hidden by the container"
    said = []
    for process in gpu.processes:
        run = process.run or owners.get(process.pid)
        used = f" {process.used_gib:.1f}" if process.used_gib is not None else ""
        if run:
            said.append(f"{one_line(run, 20)} (ours){used}")
        else:
            who = one_line(process.user, 12) if process.user else "another user"
            said.append(f"{who}: {one_line(process.name or '', 12)} pid {process.pid}{used}".replace(":  pid", ": pid"))
    return ", ".join(said)


def _bar(memory: Memory, width: int, style: glyphs.Style) -> list[tuple[str, str]]:
    share = memory.used_gib / memory.total_gib if memory.total_gib else 0.0
    colour = "trouble" if share > _FULL else "warn" if share > _BUSY else "good"
    return [(glyphs.bar(share, width, style), colour), (f" {memory.used_gib:>5.1f}/{memory.total_gib:<5.1f} GiB", "")]


def host_lines(host: Host, has_gpu: bool, width: int, style: glyphs.Style) -> list[Line]:
    """RAM, CPU and disk: one line beside GPUs, bars of their own where there is none."""
    where = f"on {one_line(host.disk_path)}" if width >= 100 else "free"
    place = ", container" * host.container + ", WSL" * host.wsl
    if has_gpu:
        text = (
            f" host  RAM {host.ram.used_gib:.1f}/{host.ram.total_gib:.1f} GiB   CPU {host.cpu_percent:.0f} % of "
            f"{host.cpu_count}   disk {host.disk.free_gib:.0f} GiB {where}{place}"
        )
        return [[(fitted(text, width), "")]]
    cores = f"{host.cpu_percent:.0f} % of {host.cpu_count} cores, load {host.load_1min:.1f}{place}"
    size = 16 if width < 100 else 30
    return [
        [(" RAM  ", "bold"), *_bar(host.ram, size, style)],
        [(" CPU  ", "bold"), (glyphs.bar(host.cpu_percent / 100, size, style), "good"), (f" {cores}", "")],
        [(" disk ", "bold"), *_bar(host.disk, size, style), (f"  {host.disk.free_gib:.0f} GiB {where}", "dim")],
    ]


def box_lines(snapshot: Snapshot | None, style: glyphs.Style) -> list[Line]:
    """The memory of the box on lines of 30 cells, for beside a run: each GPU's, then the host's."""
    if snapshot is None:
        return []
    known = [(f"GPU {gpu.index}", gpu.memory) for gpu in snapshot.gpus if gpu.memory is not None]
    return [
        [
            (f" {name:<8}", "dim"),
            (glyphs.bar(memory.used_gib / memory.total_gib, 8, style), "accent"),
            (f" {memory.used_gib:.0f}/{memory.total_gib:.0f} GiB", ""),
        ]
        for name, memory in [*known, ("box RAM", snapshot.host.ram)]
    ]


def run_line(run: RunSummary, width: int, style: glyphs.Style, now: float | None = None, depth: int = 0) -> Line:
    """One run on one line: mark, name under the run it went on from, step, loss, what comes or what came."""
    mark = glyphs.MARKS[run.state][1 if style == "ascii" else 0]
    colour = {"running": "accent", "finished": "good", "failed": "trouble", "killed": "trouble", "lost": "warn"}
    steps = f"{run.step}/{run.total_steps}" if run.total_steps else str(run.step) if run.step else ""
    name_width = 22 if width >= 100 else 16
    branch = "  " * (depth - 1) + ("`-" if style == "ascii" else "└ ") if depth else ""
    number = fitted(headline(run.method, run.metrics, run.loss), 12)
    head = f" {fitted(branch + run.name, name_width)} {fitted(run.state, 8)} {steps:>11}  {number} "
    tail = _tail(run, now or time.time())
    return [
        (f" {mark}", colour.get(run.state, "")),
        (head, ""),
        (fitted(tail, max(width - len(head) - 2, 0)), "dim" if not run.note else "warn"),
    ]


def _tail(run: RunSummary, now: float) -> str:
    if run.live:
        if run.note:
            return one_line(run.note)
        eta = f"eta {duration(run.eta_s)}" if run.eta_s else run.phase
        silent = run.age(now)
        return f"{eta}, last event {duration(silent)} ago" if silent is not None and silent > 15 else eta
    ended = f"{duration(now - run.ended_at)} ago" if run.ended_at else ""
    return ", ".join(part for part in (ended, one_line(run.verdict.message) if run.verdict else "") if part)


def owners_of(runs: Sequence[RunSummary]) -> dict[int, str]:
    """pid of the trainer to the name of its run, for the runs that are live."""
    return {run.trainer_pid: run.name for run in runs if run.trainer_pid is not None}
