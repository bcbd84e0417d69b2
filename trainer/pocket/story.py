"""The whole job on the pocket model, told in beats: pretrain, SFT, DPO, RFT, and the judgement after each. Nothing is
scripted: every stage is a run of its own that goes on from the one before, and has to help on what it is for.

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
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Literal

from recipes.errors import BurnishError
from recipes.loading import load
from trainer.errors import LaunchError
from trainer.evaluation.statistics import compare, proportion
from trainer.planning.start import start
from trainer.pocket import cache
from trainer.pocket.evaluate import Graded, evaluate
from trainer.pocket.stages import MEASURES, NAME, STAGES, Stage
from trainer.runs.folder import RunFolder
from trainer.runs.model import RunSummary
from trainer.runs.registry import summaries, summary

Kind = Literal["build", "evaluate", "launch", "train", "result", "error"]


@dataclass(frozen=True)
class Beat:
    """One thing that the story says, in a stage (`base`, or that of a run). `done` closes what `kind` says."""

    kind: Kind
    stage: str
    text: str
    done: bool = False
    data: dict[str, Any] = field(default_factory=dict)


def play(home: Path) -> Iterator[Beat]:
    """Do the job and tell it. Raises BurnishError for what stops it."""
    yield from _build(home)
    base = cache.folder(home)
    (home / NAME).mkdir(parents=True, exist_ok=True)
    before = yield from _judged("base", base, home)
    run: RunFolder | None = None
    for stage in STAGES:
        began = time.time()
        run = _live_run(stage, run, home) or _launched(stage, run, home)
        goes_on = f", on from {parent}" if (parent := run.record()["parent"]) else ""
        yield Beat("launch", stage.name, f"{stage.told}: run {run.id}{goes_on}", True, {"run": run.id})
        yield from _follow(stage, run)
        after = yield from _judged(stage.name, base, home, run.adapter)
        yield _result(stage, before, after, time.time() - began)
        before = after


def helped(beats: list[Beat]) -> bool:
    """Whether every stage moved its own measure by a difference whose whole interval lies above nothing."""
    found = {beat.stage: beat.data["difference"]["low"] > 0 for beat in beats if beat.kind == "result"}
    return all(found.get(stage.name, False) for stage in STAGES)


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
        yield Beat("build", "base", "the pocket base was built before and is kept", True)
        return
    started = time.time()
    yield Beat("build", "base", "pretraining a small Llama on generated text, once: two to three minutes on two cores")
    said: SimpleQueue[Beat | BaseException | None] = SimpleQueue()

    def progress(step: int, steps: int, loss: float) -> None:
        text = f"pretraining step {step} of {steps}, loss {loss:.3f}"
        said.put(Beat("build", "base", text, data={"step": step, "total": steps}))

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
    seconds = time.time() - started
    yield Beat("build", "base", f"the base is ready after {seconds:.0f} s", True, {"seconds": seconds})


def _live_run(stage: Stage, parent: RunFolder | None, home: Path) -> RunFolder | None:
    """The stage's run where one is live: the story joins it."""
    goes_on = parent.id if parent else None
    for run in summaries(home):
        if run.live and run.name == stage.run_name and run.parent == goes_on:
            return RunFolder(Path(run.path))
    return None


def _launched(stage: Stage, parent: RunFolder | None, home: Path) -> RunFolder:
    overrides = (*stage.overrides, f"model.base=run:{parent.id}") if parent else stage.overrides
    settings = [part for text in overrides for part in ("--set", text)]
    return start(
        load(stage.recipe, overrides),
        home=home,
        name=stage.run_name,
        command=["burnish", "run", stage.recipe, "--name", stage.run_name, *settings],
    )


def _follow(stage: Stage, run: RunFolder) -> Iterator[Beat]:
    told = -1
    while True:
        now = summary(run)
        if now.step != told and now.step:
            told = now.step
            data = {"step": now.step, "total": now.total_steps, "run": run.id}
            yield Beat("train", stage.name, f"step {now.step} of {now.total_steps}{_reading(now)}", data=data)
        if not now.live:
            break
        time.sleep(0.5)
    if now.state != "finished" or now.verdict is None:
        message = now.verdict.message if now.verdict else "no verdict"
        raise LaunchError(f"the run {run.id} ended {now.state}: {message}", f"`burnish log {run.id}` has the rest")
    seconds = (now.ended_at or 0) - (now.started_at or 0)
    yield Beat("train", stage.name, f"{now.verdict.message} in {seconds:.0f} s", True, {"run": run.id})


def _reading(now: RunSummary) -> str:
    """What a method's step is watched by: the reward, where there is one, else the loss."""
    for name in ("reward", "loss"):
        if (value := now.metrics.get(name)) is not None:
            return f", {name} {value:.3f}"
    return ""


def _judged(stage: str, base: Path, home: Path, adapter: Path | None = None) -> Generator[Beat, None, Graded]:
    """The grades of a model on the held-out problems, told on the way."""
    yield Beat("evaluate", stage, "answering the held-out problems, which no stage trains on")
    graded = evaluate(base, base / cache.PAIRS["test"], home / NAME / f"{stage}.json", adapter)
    grades = {name: getattr(graded, name) for name in MEASURES}
    n = len(graded.correct)
    shares = {name: proportion(sum(of), n) for name, of in grades.items()}
    text = ", ".join(f"{MEASURES[name]} {share.estimate:.0%}" for name, share in shares.items())
    scores = {name: asdict(share) for name, share in shares.items()}
    yield Beat("evaluate", stage, f"{text}, of {n}", True, {"examples": graded.examples, "scores": scores, "n": n})
    return graded


def _result(stage: Stage, before: Graded, after: Graded, seconds: float) -> Beat:
    found = compare(getattr(before, stage.measure), getattr(after, stage.measure))
    change = found.difference
    low, high = change.low * 100, change.high * 100
    verdict = "helped" if change.low > 0 else "did harm" if change.high < 0 else "cannot be told to have helped"
    text = (
        f"{stage.name.upper()} {verdict}: {MEASURES[stage.measure]} {found.before.estimate:.1%} -> "
        f"{found.after.estimate:.1%}, {change.estimate * 100:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"
    )
    data = {
        "measure": stage.measure,
        "before": asdict(found.before),
        "after": asdict(found.after),
        "difference": asdict(change),
        "p": found.p,
        "n": found.n,
        "seconds": seconds,
    }
    return Beat("result", stage.name, text, True, data)


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
                tell(Beat("error", "", f"{error.message}. {error.hint}", True))
                return 1
            except Exception as error:  # whatever ended it, who follows the story is not left waiting
                tell(Beat("error", "", f"{type(error).__name__}: {error}. {folder / 'log'} has the rest", True))
                raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
