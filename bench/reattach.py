"""How long until a run of 1,000,000 step events is on the screen's table, over reading every line with json?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import PYTHON, Result, median, save, spread

STEPS = 1_000_000

OPEN = """
import sys, time
from pathlib import Path
started = time.perf_counter()
from trainer.runs.folder import RunFolder
from trainer.runs.reader import RunReader
view = RunReader(RunFolder(Path(sys.argv[1]))).open()
assert view.summary.step == int(sys.argv[2]), view.summary
assert len(view.series["loss"].steps) > 100
print(time.perf_counter() - started)
"""

READ_ALL = """
import json, sys, time
started = time.perf_counter()
with open(sys.argv[1] + "/events.jsonl") as lines:
    losses = [event["loss"] for event in map(json.loads, lines) if event["type"] == "step"]
assert len(losses) == int(sys.argv[2])
print(time.perf_counter() - started)
"""


def write_run(home: Path) -> Path:
    """A run folder as the trainer writes it, with a million step events and the evaluations between them."""
    from trainer.runs.folder import RunFolder, RunStatus

    run = RunFolder.create(home, name="long", method="sft", recipe={}, origins={}, command=["bench"])
    with run.events.open("w") as out:
        for step in range(1, STEPS + 1):
            event = {
                "v": 1, "t": 1.7e9 + step, "seq": step, "type": "step", "step": step, "total": STEPS,
                "epoch": step / STEPS, "loss": 2.0 / (1 + step / 9e4), "grad_norm": 0.8, "learning_rate": 1e-4,
                "mean_token_accuracy": 0.7, "entropy": 0.4, "num_tokens": step * 4096,
                "step_time_s": 0.71, "tokens_per_s": 5769.0, "mfu": None, "eta_s": 0.71 * (STEPS - step),
            }  # fmt: skip
            out.write(json.dumps(event, separators=(",", ":")) + "\n")
            if step % 10_000 == 0:
                held_out = {"v": 1, "t": 1.7e9 + step, "seq": step, "type": "eval", "step": step, "eval_loss": 1.0}
                out.write(json.dumps(held_out, separators=(",", ":")) + "\n")
    run.write_status(RunStatus(state="running", phase="training", step=STEPS, total_steps=STEPS))
    return run.path


def timed(code: str, run: Path) -> float:
    done = subprocess.run(
        [PYTHON, "-c", code, str(run), str(STEPS)], stdout=subprocess.PIPE, text=True, check=True, stderr=sys.stderr
    )
    return float(done.stdout)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder))
        megabytes = (run / "events.jsonl").stat().st_size / 1e6
        pairs = [(timed(OPEN, run), timed(READ_ALL, run)) for _ in range(5)]
    ours, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    save(
        "reattach",
        [
            Result(
                "re-attach to a run of 1,000,000 step events, seconds",
                median(ours),
                1.0,
                "s",
                spread(ours),
                f"json over all {megabytes:.0f} MB {spread(baseline)}",
                "python -m bench.reattach",
            )
        ],
    )


if __name__ == "__main__":
    main()
