"""From launch to the first optimizer step on the pocket model, over `trl sft` on the same work.

Ours is what happens in the workstation: a warm trainer waits while the person chooses, then the launch is timed. The
launch without one is in the details. The warm trainer's own cost (memory, CPU while it waits) is measured beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from bench.measure import PYTHON, ROOT, Result, median, save, spread

STEPS = 3
SETTINGS = {
    "training.max_steps": STEPS,
    "training.per_device_train_batch_size": 16,
    "training.gradient_accumulation_steps": 1,
    "training.max_length": 256,
    "training.gradient_checkpointing": False,
    "data.max_rows": 2000,
    "data.eval_fraction": 0,
    "evaluation.eval_on_start": False,
    "evaluation.samples": 0,
}


def prepare(home: Path) -> tuple[Path, Path]:
    """The pocket model and its rows, built before anything is timed and kept for the next time."""
    from trainer.pocket.cache import ensure

    pocket = ensure(ROOT / ".bench")
    rows = home / "rows"
    rows.mkdir(exist_ok=True)
    lines = (pocket / "train.jsonl").read_text().splitlines()[:2000]
    (rows / "train.jsonl").write_text("\n".join(lines) + "\n")
    return pocket, rows


def ours(home: Path, pocket: Path, rows: Path, *, warm: bool) -> float:
    """Seconds from the call of launch to the first step event."""
    from recipes.loading import load
    from trainer.planning.start import start
    from trainer.runs import warm as warm_trainer
    from trainer.runs.events import read_events

    overrides = [f"{key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    loaded = load("sft-qlora", [*overrides, f"model.base={pocket}", f"data.train={rows / 'train.jsonl'}"])
    if warm:
        warm_trainer.ensure(home)
        wait_until(lambda: warm_trainer.status(home).state == "ready", 120)
    started = time.time()
    run = start(loaded, home=home, command=["bench"], name="bench-launch")
    first: list[float] = []

    def stepped() -> bool:
        first[:] = [event["t"] for event in read_events(run.events) if event["type"] == "step"][:1]
        return bool(first)

    wait_until(stepped, 180)
    from trainer.runs.registry import summary

    wait_until(lambda: not summary(run).live, 120)
    return first[0] - started


def trl(pocket: Path, rows: Path) -> float:
    """Seconds from the start of `trl sft` to its first log line, which it prints after the first step."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            str(Path(PYTHON).with_name("trl")), "sft", "--model_name_or_path", str(pocket), "--dataset_name", str(rows),
            "--output_dir", out, "--max_steps", str(STEPS), "--logging_steps", "1", "--report_to", "none",
            "--per_device_train_batch_size", "16", "--max_length", "256", "--learning_rate", "2e-4",
            "--use_peft", "--lora_r", "16", "--lora_alpha", "32", "--lora_target_modules", "all-linear", "--load_in_4bit",
            "--eval_strategy", "no", "--disable_tqdm", "true", "--gradient_checkpointing", "false",
            "--bf16", "false", "--use_cpu", "true", "--dtype", "float32",
        ]  # fmt: skip
        started = time.time()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "'loss'" in line:
                first = time.time()
                break
        else:
            raise RuntimeError("trl sft did not log a step:\n" + "".join(printed[-30:]))
        process.stdout.read()
        process.wait()
        return first - started


def warm_cost(home: Path) -> dict[str, float]:
    """Memory and CPU of a warm trainer that waits, over ten seconds."""
    from trainer.runs import warm

    warm.ensure(home)
    wait_until(lambda: warm.status(home).state == "ready", 120)
    process = psutil.Process(warm.status(home).trainer_pid)
    before = process.cpu_times()
    time.sleep(10)
    after = process.cpu_times()
    cost = {
        "rss_gib": round(process.memory_info().rss / 1024**3, 2),
        "cpu_percent": max(round((after.user + after.system - before.user - before.system) * 10, 2), 0.0),
    }
    warm.dismiss(home)
    return cost


def wait_until(true, timeout_s: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        pocket, rows = prepare(home)
        trl(pocket, rows)  # fills the page cache for both
        pairs = [(ours(home, pocket, rows, warm=True), trl(pocket, rows)) for _ in range(3)]
        cold = [ours(home, pocket, rows, warm=False) for _ in range(2)]
        cost = warm_cost(home)
    warm_times, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    save(
        "launch",
        [
            Result(
                "launch to first optimizer step on the pocket model, over `trl sft` on the same work",
                median(warm_times) / median(baseline),
                0.2,
                "x",
                f"{spread(warm_times)}, warm trainer waiting at {cost['rss_gib']} GiB and {cost['cpu_percent']} % CPU; "
                f"without one {median(cold):.1f} s",
                spread(baseline),
                "python -m bench.launch",
                {"cold_s": cold, "warm_cost": cost},
            )
        ],
    )


if __name__ == "__main__":
    main()
