"""Bytes per second that the workstation sends to a 120x40 terminal, steady: Home, and the monitor of a running run."""

from __future__ import annotations

import subprocess
import tempfile

from bench.measure import BURNISH, PYTHON, Result, Terminal, save

SECONDS = 20

# A run that is alive for the registry: this process holds its lock and appends events as a trainer does, two a second.
LIVE_RUN = """
import fcntl, math, os, sys, time
from pathlib import Path
from trainer.runs.events import EventWriter
from trainer.runs.folder import RunFolder, RunStatus
run = RunFolder.create(Path(sys.argv[1]), name="live", method="sft", recipe={}, origins={}, command=["bench"])
lock = os.open(run.lock, os.O_CREAT | os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
writer = EventWriter(run)
writer.write("run.start", attempt=1, resumed_from=None, device="cpu", versions={}, total_steps=4000)
for step in range(1, 4001):
    loss = 0.6 + 1.4 * math.exp(-step / 300) + 0.05 * math.sin(step)
    writer.write("step", step=step, total=4000, epoch=step / 4000, loss=loss, grad_norm=0.8 + 0.1 * math.sin(step),
        learning_rate=2e-4 * (1 - step / 4000), mean_token_accuracy=0.7, entropy=0.5, num_tokens=step * 4096,
        step_time_s=0.5, tokens_per_s=8000 + 50 * math.sin(step), mfu=None, eta_s=0.5 * (4000 - step))
    if step % 20 == 0:
        writer.write("memory", allocated_gib=None, reserved_gib=None, peak_gib=None, device_used_gib=None,
            device_total_gib=None, host_rss_gib=0.9, phase="training")
    if step % 100 == 0:
        writer.write("eval", step=step, eval_loss=loss + 0.05)
    run.write_status(RunStatus(state="running", phase="training", step=step, total_steps=4000, loss=loss,
        eta_s=0.5 * (4000 - step)))
    if step == 300:
        print("ready", flush=True)
    if step >= 300:
        time.sleep(0.5)
"""


def steady(home: str, keys: list[str]) -> float:
    """kB a second after the first paint and after `keys`, over twenty seconds."""
    terminal = Terminal([BURNISH, "--devices", "fake:h200x8"], columns=120, rows=40, env={"BURNISH_HOME": home})
    try:
        terminal.until(b"burnish", 60)
        terminal.count_bytes(3)
        for key in keys:
            terminal.press(key)
            terminal.count_bytes(2)
        terminal.count_bytes(3)
        painted = terminal.count_bytes(SECONDS)
        if not painted or terminal.process.poll() is not None:
            raise RuntimeError("the screen did not go on painting: nothing was measured")
        return painted / SECONDS / 1000
    finally:
        terminal.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        run = subprocess.Popen([PYTHON, "-c", LIVE_RUN, home], stdout=subprocess.PIPE)
        try:
            assert run.stdout
            run.stdout.readline()
            figures = {"Home, 8 GPUs and a live run": steady(home, []), "monitor": steady(home, ["4", "\r"])}
        finally:
            run.kill()
            run.wait()
    save(
        "terminal_bytes",
        [
            Result(
                f"bytes to a 120x40 terminal, steady, kB/s: {name}",
                value,
                8.0,
                "kB/s",
                f"{value:.1f} kB/s over {SECONDS} s",
                "the bar itself",
                "python -m bench.terminal_bytes",
            )
            for name, value in figures.items()
        ],
    )


if __name__ == "__main__":
    main()
