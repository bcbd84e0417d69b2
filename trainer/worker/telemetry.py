"""What happens in TRL's training loop as events, and what the mailbox asks for as control of the loop."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from recipes.errors import BurnishError
from recipes.schema import ROLLOUT, Health
from trainer.errors import NonFiniteLoss
from trainer.runs.folder import COMPLETE, write_json
from trainer.runs.health import Finding
from trainer.runs.reader import RunReader
from trainer.worker.alarms import Alarms
from trainer.worker.clock import StepClock
from trainer.worker.reporter import Reporter
from trainer.worker.samples import sample

_GIB = 1024**3
_MEMORY_EVERY_S = 5.0
# Dense BF16 peak of tensor cores in FLOP/s, by the vendor's data sheets.
PEAK_FLOPS = {
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12,
    "A10": 125e12, "A6000": 155e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
}  # fmt: skip


class Telemetry(TrainerCallback):  # type: ignore[misc]
    """Turns the trainer's callbacks into events and obeys the mailbox after every step."""

    def __init__(
        self,
        reporter: Reporter,
        *,
        evaluates: bool,
        prompts: list[tuple[Any, str]],
        max_new_tokens: int,
        min_free_bytes: float,
        flops_per_token: float,
        device_name: str,
        method: str = "sft",
        health: Health | None = None,
        checks: Sequence[str] = (),
        clock: StepClock | None = None,
        trouble: Sequence[BurnishError] = (),
    ) -> None:
        self._reporter = reporter
        self._evaluates = evaluates
        self._prompts = prompts
        self._max_new_tokens = max_new_tokens
        self._min_free_bytes = min_free_bytes
        self._flops_per_token = flops_per_token
        self._peak = next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)
        self._tokenizer: Any = None
        self._step_started = 0.0
        self._step_times: list[float] = []
        self._usual_step_s = 0.0
        self._tokens_seen = 0.0
        self._patience = (health or Health()).patience
        self._alarms = Alarms(method, health or Health(), checks)
        self._clock = clock or StepClock()
        self._trouble = trouble
        self._parts: dict[str, float] = dict.fromkeys(("generate", "score"), 0.0) if method in ROLLOUT else {}
        self._memory_at = 0.0
        self._reason = "schedule"
        self.stopped_by = ""
        self.alarm: Finding | None = None  # what ended the run, where the recipe's health.stop_on did

    def on_train_begin(self, args: Any, state: Any, control: Any, processing_class: Any = None, **_: Any) -> None:
        self._tokenizer = processing_class
        self._reporter.status(step=state.global_step, total_steps=state.max_steps)
        if state.global_step:
            self._alarms.remember(RunReader(self._reporter.run).open().series)
        self.memory("training")

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._enter("evaluating")  # the one sign that transformers gives of an evaluation that begins

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._enter("training")
        self._clock.take()  # what an evaluation spent is no part of a step
        self._step_started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._step_times.append(time.perf_counter() - self._step_started)
        for part, seconds in self._clock.take().items():
            self._parts[part] = self._parts.get(part, 0.0) + seconds
        self._obey(control)
        if control.should_save:
            self._wait_for_room(args.output_dir, control)
        if time.monotonic() - self._memory_at > _MEMORY_EVERY_S:
            self.memory("training")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = dict(logs or {})
        if "loss" in logs:
            self._on_step(state, logs)
            self._judge(args, state, control, logs)
        elif any(key.startswith("eval_") for key in logs):
            logs.pop("epoch", None)
            self._reporter.event("eval", step=state.global_step, **logs)
            self._reporter.status(metrics={**self._metrics, **_numbers(logs)})
            self._judge(args, state, control, logs)

    _metrics: dict[str, float | None] = {}

    def _on_step(self, state: Any, logs: dict[str, Any]) -> None:
        seconds, self._step_times = sum(self._step_times), []
        steps = max(state.global_step - self._logged_step, 1)
        self._logged_step = state.global_step
        step_time = seconds / steps
        # Eased, so that one slow step does not shake the estimate of the end.
        self._usual_step_s = 0.9 * self._usual_step_s + 0.1 * step_time if self._usual_step_s else step_time
        tokens = float(logs.get("num_tokens") or 0.0)
        per_second = (tokens - self._tokens_seen) / seconds if seconds and tokens > self._tokens_seen else None
        self._tokens_seen = tokens
        mfu = per_second * self._flops_per_token / self._peak if per_second and self._peak else None
        eta = self._usual_step_s * (state.max_steps - state.global_step)
        ours = {"step_time_s": step_time, "tokens_per_s": per_second, "mfu": mfu, "eta_s": eta}
        ours |= self._split(step_time, steps)
        self._reporter.event("step", step=state.global_step, total=state.max_steps, **logs, **ours)
        loss = _finite(logs["loss"])
        self._metrics = {**self._metrics, **_numbers({**logs, **ours})}
        self._reporter.status(
            step=state.global_step, total_steps=state.max_steps, loss=loss, eta_s=eta, metrics=self._metrics
        )

    _logged_step = 0

    def _split(self, step_time: float, steps: int) -> dict[str, float]:
        """Seconds a step of a rollout method by part: those that the clock was told of, and `learn_s`, the rest."""
        if not self._parts:
            return {}
        split = {f"{part}_s": spent / steps for part, spent in self._parts.items()}
        self._parts = dict.fromkeys(self._parts, 0.0)
        return {**split, "learn_s": max(step_time - sum(split.values()), 0.0)}

    def _judge(self, args: Any, state: Any, control: Any, logs: dict[str, Any]) -> None:
        """Tell the alarms that became bad; end the run where the recipe's `health` says so."""
        for found in self._alarms.read(state.global_step, logs):
            self._reporter.event(
                "alert", kind=found.alarm, message=found.why, remedy=found.remedy, value=found.value, step=found.step
            )
        stop = self._alarms.stop
        if stop is None or self.alarm or self.stopped_by:
            return
        if stop.alarm == "nonfinite":  # there is nothing sane left to save
            times = f"in {self._patience} readings in a row, at step {stop.step} last"
            raise NonFiniteLoss(f"the loss was no number {times}", stop.remedy)
        self.alarm = stop
        self._stop(control, "health", f"stopping for {stop.alarm}")
        self._wait_for_room(args.output_dir, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.memory("evaluating")
        if not self._prompts:
            return
        tokenizer = self._tokenizer
        for fields in sample(model, tokenizer, self._prompts, self._max_new_tokens):
            self._reporter.event("sample", step=state.global_step, **fields)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        write_json(folder / COMPLETE, {"step": state.global_step, "bytes": size, "t": time.time()})
        reason, self._reason = self._reason, "schedule"
        self._reporter.event("checkpoint", step=state.global_step, path=folder.name, bytes=size, reason=reason)

    def memory(self, phase: str) -> None:
        """One `memory` event in GiB; device figures are null without a GPU."""
        import torch

        self._memory_at = time.monotonic()
        figures: dict[str, float | None] = dict.fromkeys(
            ("allocated_gib", "reserved_gib", "peak_gib", "device_used_gib", "device_total_gib")
        )
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            figures = {
                "allocated_gib": torch.cuda.memory_allocated() / _GIB,
                "reserved_gib": torch.cuda.memory_reserved() / _GIB,
                "peak_gib": torch.cuda.max_memory_allocated() / _GIB,
                "device_used_gib": (total - free) / _GIB,
                "device_total_gib": total / _GIB,
            }
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self._reporter.event("memory", **figures, host_rss_gib=pages * os.sysconf("SC_PAGE_SIZE") / _GIB, phase=phase)

    def _enter(self, phase: str) -> None:
        if self._reporter.current_phase != phase:
            self._reporter.phase(phase)

    def _obey(self, control: Any) -> None:
        letters = [letter.request for letter in self._answer()]
        if "pause" in letters and "stop" not in letters:
            letters += self._pause()
        if "stop" in letters or self._trouble:
            self._stop(control)
        elif "save" in letters:
            control.should_save = True
            self._reason = "request"
        if "evaluate" in letters and self._evaluates:
            control.should_evaluate = True
        elif "evaluate" in letters:
            self._reporter.event("warning", kind="evaluate", message="there are no held-out rows to evaluate on")

    def _stop(self, control: Any, reason: str = "stop", detail: str = "stopping as asked") -> None:
        control.should_training_stop = control.should_save = True
        self._reason = reason
        self._reporter.phase("saving", detail, state="stopping")

    def _answer(self) -> list[Any]:
        letters = self._reporter.requests()
        for letter in letters:
            if letter.request == "stop":
                self.stopped_by = letter.by
        return letters

    def _pause(self) -> list[str]:
        """Wait until asked to go on or to stop; returns what was asked meanwhile."""
        self._reporter.phase("paused", "paused: `c` or `burnish continue` goes on")
        asked: list[str] = []
        while not {"continue", "stop"} & set(asked):
            time.sleep(0.2)
            asked += [letter.request for letter in self._answer()]
        self._reporter.phase("training", state="running")
        return asked

    def _wait_for_room(self, folder: str, control: Any) -> None:
        """Before a checkpoint: wait for the room that the recipe wants kept free, and say so."""
        waited = False
        while shutil.disk_usage(folder).free < self._min_free_bytes:
            if not waited:
                room = f"{self._min_free_bytes / _GIB:g} GiB"
                message = f"less than {room} free: the checkpoint waits for room (resources.min_free_disk_gib)"
                self._reporter.event("alert", kind="disk", message=message)
                self._reporter.status(at_once=True, phase="paused", note=message)
                waited = True
            time.sleep(1)
            if any(letter.request == "stop" for letter in self._answer()):
                self._stop(control)
                return
        if waited:
            self._reporter.phase("training")


class KeepTypes(TrainerCallback):  # type: ignore[misc]
    """Gives trained weights the type back that they had before a checkpoint was loaded.

    TRL holds the adapter of a 4-bit base in 16 bits, PEFT loads a saved one in 32: a resumed run would go on with other
    numbers than the run that it resumes. The values are the same in both types, so nothing is lost.
    """

    def __init__(self, model: Any) -> None:
        self._types = {name: weight.dtype for name, weight in model.named_parameters() if weight.requires_grad}

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        for name, weight in model.named_parameters():
            wanted = self._types.get(name, weight.dtype)
            if weight.dtype == wanted:
                continue
            weight.data = weight.data.to(wanted)
            for key, value in optimizer.state.get(weight, {}).items():
                if hasattr(value, "is_floating_point") and value.is_floating_point() and value.ndim:
                    optimizer.state[weight][key] = value.to(wanted)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _numbers(logs: dict[str, Any]) -> dict[str, float | None]:
    return {key: _finite(value) for key, value in logs.items() if isinstance(value, int | float) or value is None}
