"""The training process. Started by a supervisor only: `--order JSON` trains a run, `--warm FILE` waits for one."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from trainer.runs import verdict as verdicts
from trainer.runs.folder import RunFolder, write_json
from trainer.runs.warm import environment_mark


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--order", type=json.loads)
    parser.add_argument("--warm", type=Path)
    arguments = parser.parse_args()
    if arguments.warm:
        mark = environment_mark()  # before anything is added: launchers compare it with their own
        # torch asks CUDA how many devices there are when it is imported by others; NVML tells without taking memory.
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        load_libraries()
        write_json(arguments.warm, {"environment": mark, "pid": os.getpid()})
        line = sys.stdin.readline()
        if not line.strip():
            return 0
        order = json.loads(line)
        _move_into(RunFolder(Path(order["run"])), order)
    else:
        order = arguments.order
    return work(RunFolder(Path(order["run"])), int(order["attempt"]), resume=bool(order["resume"]))


def work(run: RunFolder, attempt: int, *, resume: bool) -> int:
    """One attempt from the first event to the last word; the exit code is that of the command line."""
    from trainer.worker.reporter import Reporter

    sys.stdout, sys.stderr = Console(sys.stdout), Console(sys.stderr)
    reporter = Reporter(run, attempt)
    reporter.phase("importing", "torch, transformers, trl", state="running")
    try:
        load_libraries()
        from trainer.worker.train import train

        verdict = train(run, reporter, resume=resume)
    except BaseException as error:  # whatever ended the run, its verdict is to be written
        lines = traceback.format_exc()
        print(lines, file=sys.stderr, flush=True)
        verdict = verdicts.of_exception(error, lines.splitlines())
        reporter.end("failed", verdict)
        return 1
    reporter.end("failed" if verdict.exit_code else "finished", verdict)
    return verdict.exit_code or 0


class Console(io.TextIOBase):
    """A stream that drops what a full disk does not take: what is only printed must not end a run."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())


def load_libraries() -> None:
    """Import what every run needs: the seconds that a warm trainer has behind it."""
    import datasets
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Trainer  # noqa: F401
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    import trainer.worker.train  # noqa: F401

    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def _move_into(run: RunFolder, order: dict[str, Any]) -> None:
    """Become the trainer of `run`: its environment, its working folder, its console."""
    os.environ.update(order.get("environment", {}))
    os.chdir(run.record()["cwd"])
    with run.console.open("ab") as out:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main())
