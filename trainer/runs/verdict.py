"""How a run ended, in plain words: from an exception in the trainer, or from the way that its process went away."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recipes.errors import BurnishError
from trainer.runs.model import Verdict
from trainer.text import clean

_LOG_LINES = 12
# (pattern in what the trainer printed or raised, kind, message, hint)
_CAUSES: tuple[tuple[str, str, str, str], ...] = (
    (
        r"CUDA out of memory|torch\.OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED",
        "oom-gpu",
        "the GPU ran out of memory",
        "lower training.per_device_train_batch_size or training.max_length, or take a qlora recipe; an evaluation that "
        "ran out wants a lower evaluation.per_device_eval_batch_size",
    ),
    (
        r"MemoryError|can't allocate memory|Cannot allocate memory|std::bad_alloc",
        "oom-host",
        "the machine ran out of memory",
        "lower training.dataloader_num_workers or data.max_rows, or take a smaller base",
    ),
    (
        r"No space left on device|Disk quota exceeded|Errno 28|Errno 122",
        "disk-full",
        "the disk is full",
        "make room, then `burnish resume`; training.save_total_limit keeps fewer checkpoints",
    ),
    (
        r"CUDA error|NCCL error|GPU is lost|Xid",
        "error",
        "the GPU or its driver failed",
        "`burnish doctor` shows the state of the GPUs; then `burnish resume`",
    ),
    (
        r"couldn't connect to|Connection error|LocalEntryNotFoundError|Max retries exceeded|offline mode is enabled",
        "bad-model",
        "the hub could not be reached and the model is not on this machine",
        "download it once where there is a network, or set model.base to a local folder",
    ),
    (
        r"gated repo|GatedRepoError|401 Client Error|RepositoryNotFoundError",
        "bad-model",
        "the hub does not give this model to you",
        "check the name, accept its licence on the hub, then `hf auth login`",
    ),
)


def of_exception(error: BaseException, traceback_lines: Sequence[str]) -> Verdict:
    """The verdict on an exception that the trainer raised."""
    log = useful_lines(traceback_lines)
    if isinstance(error, BurnishError):
        kind = getattr(error, "verdict_kind", "error")
        return Verdict(kind, error.message, error.hint, exit_code=error.exit_code, log=log)
    text = f"{type(error).__name__}: {error}"
    return _known_cause(text, log) or Verdict(
        "error", clean(text.strip().splitlines()[0])[:300], "the log has the rest: `burnish log`", exit_code=1, log=log
    )


def of_exit(returncode: int, log_lines: Sequence[str], *, killed_by: str | None, oom_kills: int) -> Verdict:
    """The verdict on a trainer that went away without a last word; `returncode` as subprocess gives it."""
    log = useful_lines(log_lines)
    if returncode >= 0:
        known = _known_cause("\n".join(log_lines[-40:]), log) if returncode else None
        message = f"the trainer ended with exit code {returncode} and no last word"
        return known or Verdict("error", message, "the log has the rest: `burnish log`", exit_code=returncode, log=log)
    name = _signal_name(-returncode)
    if killed_by and -returncode == signal.SIGKILL:
        return Verdict("stopped-now", f"stopped at once by {killed_by}", "`burnish resume`", signal=name, log=log)
    if oom_kills:
        hint = "lower training.dataloader_num_workers or data.max_rows, or take a smaller base; then `burnish resume`"
        return Verdict("oom-host", "the kernel killed the trainer: out of memory", hint, signal=name, log=log)
    if -returncode == signal.SIGKILL:
        message = "killed by SIGKILL from outside: by a person, or by the kernel when memory ran out"
        return Verdict("killed", message, "`dmesg` tells which; then `burnish resume`", signal=name, log=log)
    known = _known_cause("\n".join(log_lines[-40:]), log)
    return known or Verdict("killed", f"the trainer died of {name}", "then `burnish resume`", signal=name, log=log)


def useful_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines worth reading: no progress bars, no blanks, nothing that a terminal would obey."""
    kept = [clean(line.rsplit("\r", 1)[-1]).rstrip() for line in lines]
    kept = [line for line in kept if line and not re.search(r"\d+%\|", line)]
    return tuple(line[:300] for line in kept[-_LOG_LINES:])


def oom_kills() -> int:
    """How often the kernel killed for memory in our control group; 0 where that cannot be read."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
        for events in (Path(f"/sys/fs/cgroup{group}/memory.events"), Path("/sys/fs/cgroup/memory.events")):
            if events.exists():
                counts = dict(line.split() for line in events.read_text().splitlines())
                return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        pass
    return 0


def as_dict(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "log": list(verdict.log)}


def from_dict(data: dict[str, Any] | None) -> Verdict | None:
    if not data:
        return None
    return Verdict(
        kind=str(data.get("kind", "error")),
        message=str(data.get("message", "")),
        hint=str(data.get("hint", "")),
        exit_code=data.get("exit_code"),
        signal=data.get("signal"),
        log=tuple(data.get("log", ())),
    )


def _known_cause(text: str, log: tuple[str, ...]) -> Verdict | None:
    for pattern, kind, message, hint in _CAUSES:
        if re.search(pattern, text):
            return Verdict(kind, message, hint, exit_code=1, log=log)
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
