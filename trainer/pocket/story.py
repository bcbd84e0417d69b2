"""The main job on the pocket model, from no model to a tuned and judged one, told in beats. Nothing is scripted.

`play` does it; `python -P -m trainer.pocket.story HOME` does it detached, its beats in HOME/demo/story.jsonl, so that a
screen can follow the story and be closed without ending it.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from recipes.errors import BurnishError
from recipes.loading import load
from trainer.errors import LaunchError
from trainer.evaluation.statistics import Interval, compare, proportion
from trainer.planning.start import start
from trainer.pocket import cache
from trainer.pocket.evaluate import Graded, evaluate
from trainer.runs.folder import RunFolder
from trainer.runs.registry import summaries, summary

NAME = "demo"
# What differs from the library's sft-qlora: a tiny model wants a high rate and no recomputation.
OVERRIDES = (
    "training.max_steps=200",
    "training.per_device_train_batch_size=16",
    "training.gradient_accumulation_steps=1",
    "training.learning_rate=2e-3",
    "training.max_length=256",
    "training.gradient_checkpointing=false",
    "training.save_steps=100",
    "evaluation.eval_steps=50",
    "evaluation.per_device_eval_batch_size=64",
    "evaluation.max_new_tokens=40",
)
Kind = Literal["build", "evaluate", "launch", "train", "result", "error"]


@dataclass(frozen=True)
class Beat:
    """One thing that the story says. Beats of one `kind` follow each other; `done` closes the kind."""

    kind: Kind
    text: str
    done: bool = False
    data: dict[str, Any] = field(default_factory=dict)


def play(home: Path) -> Iterator[Beat]:
    """Do the job and tell it. Raises BurnishError for what stops it."""
    yield from _build(home)
    base = cache.folder(home)
    rows, results = base / "test.jsonl", home / "demo"
    results.mkdir(parents=True, exist_ok=True)
    yield Beat("evaluate", "the base answers 300 held-out problems, before any tuning")
    before = evaluate(base, rows, results / "base.json")
    yield _graded("the base", before)

    run = _live_run(home)
    if run is None:
        run = start(
            load("sft-qlora", OVERRIDES),
            home=home,
            name=NAME,
            command=["burnish", "run", "sft-qlora", *(part for text in OVERRIDES for part in ("--set", text))],
        )
    yield Beat(
        "launch", f"QLoRA SFT launched as {run.id}, in a trainer that outlives this terminal", True, {"run": run.id}
    )
    yield from _follow(run)
    yield Beat("evaluate", "the tuned model answers the same problems")
    after = evaluate(base, rows, results / "tuned.json", adapter=run.adapter)
    yield _graded("the tuned model", after)
    yield _result(before, after)


def helped(beats: list[Beat]) -> bool:
    """Whether the story ended with a difference whose whole interval lies above nothing."""
    return any(beat.kind == "result" and beat.data["difference"]["low"] > 0 for beat in beats)


def start_detached(home: Path) -> None:
    """Play in a process of its own, unless one plays already."""
    (home / NAME).mkdir(parents=True, exist_ok=True)
    with (home / NAME / "log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "trainer.pocket.story", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def read_story(home: Path) -> list[Beat]:
    """The beats of the story that plays, or played last."""
    try:
        lines = (home / NAME / "story.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    beats = []
    for line in lines:
        try:
            beats.append(Beat(**json.loads(line)))
        except (ValueError, TypeError):  # the line that is being written
            continue
    return beats


def _build(home: Path) -> Iterator[Beat]:
    """Build the base where it is missing; its progress comes over from a thread."""
    if cache.is_built(home):
        yield Beat("build", "the pocket base was built before and is kept", True)
        return
    started = time.time()
    yield Beat("build", "pretraining a small Llama on generated text, once: two to three minutes on two cores")
    said: SimpleQueue[Beat | BaseException | None] = SimpleQueue()

    def progress(step: int, steps: int, loss: float) -> None:
        said.put(
            Beat("build", f"pretraining step {step} of {steps}, loss {loss:.3f}", data={"step": step, "total": steps})
        )

    def work() -> None:
        try:
            cache.ensure(home, progress)
            said.put(None)
        except BaseException as error:
            said.put(error)

    Thread(target=work, daemon=True).start()
    while (beat := said.get()) is not None:
        if isinstance(beat, BaseException):
            raise beat
        yield beat
    yield Beat("build", f"the base is ready after {time.time() - started:.0f} s", True)


def _live_run(home: Path) -> RunFolder | None:
    """The demo's run where one is live: the story joins it."""
    return next((RunFolder(Path(run.path)) for run in summaries(home) if run.name == NAME and run.live), None)


def _follow(run: RunFolder) -> Iterator[Beat]:
    told = -1
    while True:
        now = summary(run)
        if now.step != told and now.step:
            told = now.step
            loss = f", loss {now.loss:.3f}" if now.loss is not None else ""
            data = {"step": now.step, "total": now.total_steps, "run": run.id}
            yield Beat("train", f"step {now.step} of {now.total_steps}{loss}", data=data)
        if not now.live:
            break
        time.sleep(0.5)
    if now.state != "finished" or now.verdict is None:
        message = now.verdict.message if now.verdict else "no verdict"
        raise LaunchError(f"the run {run.id} ended {now.state}: {message}", f"`burnish log {run.id}` has the rest")
    yield Beat(
        "train", f"{now.verdict.message} in {(now.ended_at or 0) - (now.started_at or 0):.0f} s", True, {"run": run.id}
    )


def _graded(who: str, graded: Graded) -> Beat:
    n = len(graded.correct)
    share = proportion(sum(graded.correct), n)
    text = f"{who}: exact match {_percent(share)}, valid JSON {sum(graded.valid) / n:.0%}, {n} problems"
    return Beat("evaluate", text, True, {"examples": graded.examples, "score": asdict(share)})


def _result(before: Graded, after: Graded) -> Beat:
    found = compare(before.correct, after.correct)
    change = found.difference
    sign = "better" if change.low > 0 else "worse" if change.high < 0 else "not told apart from the base"
    text = (
        f"tuned is {sign}: {change.estimate * 100:+.1f} points of exact match "
        f"(95 % interval {change.low * 100:+.1f} to {change.high * 100:+.1f}, p {found.p:.2g})"
    )
    return Beat("result", text, True, {"difference": asdict(change), "p": found.p, "n": found.n})


def _percent(share: Interval) -> str:
    return f"{share.estimate:.1%} (95 % interval {share.low:.1%} to {share.high:.1%})"


def main() -> int:
    home = Path(sys.argv[1])
    folder = home / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # one plays already
        with (folder / "story.jsonl").open("w") as out:

            def tell(beat: Beat) -> None:
                out.write(json.dumps(asdict(beat)) + "\n")
                out.flush()
                os.utime(folder)

            try:
                for beat in play(home):
                    tell(beat)
            except BurnishError as error:
                tell(Beat("error", f"{error.message}. {error.hint}", True))
                return 1
            except Exception as error:  # whatever ended it, who follows the story is not left waiting
                tell(Beat("error", f"{type(error).__name__}: {error}. {folder / 'log'} has the rest", True))
                raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
