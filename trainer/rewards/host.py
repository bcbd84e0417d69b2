"""The rewards' process: `python -P -m trainer.rewards.host PARENT_PID`. It scores, and may be killed at any moment.

One JSON object a line on stdin, one on stdout for each:
    {}                                                                -> {}, when it is up
    {"load": name, "reward": {...}}                                   -> {}
    {"score": name, "prompts": [], "completions": [], "columns": {}}  -> {"items": [{"score", "reason", "seconds"}]}
What fails is told instead: {"failure": [kind, message]}, as the answer or as one of its items.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from recipes.rewards import Function, Reward, column
from trainer.rewards import function, numeric
from trainer.rewards.kinds import score_one
from trainer.rewards.score import Score

Item = dict[str, Any]
Scorer = Callable[[Sequence[str], Sequence[str], Mapping[str, Sequence[Any]]], list[Item]]


def main() -> None:
    _die_with(int(sys.argv[1]))
    inbox, outbox = _take_pipes()
    # A function that crashes is told by its signal; a core dump of it would only fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    scorers: dict[str, Scorer] = {}
    for line in inbox:
        _send(outbox, _answer(scorers, json.loads(line)))


def _answer(scorers: dict[str, Scorer], request: dict[str, Any]) -> dict[str, Any]:
    try:
        if not request:
            return {}
        if "load" in request:
            scorers[request["load"]] = _scorer(TypeAdapter[Any](Reward).validate_python(request["reward"]))
            return {}
        scorer = scorers[request["score"]]
        return {"items": scorer(request["prompts"], request["completions"], request["columns"])}
    except function.BatchFailed as failed:
        return {"failure": [failed.kind, str(failed)]}


def _scorer(block: Any) -> Scorer:
    if isinstance(block, Function):
        return _of_function(block)
    if block.kind == "numeric":
        numeric.load()  # now, so that the first completion's time is its own
    return _of_kind(block)


def _of_function(block: Function) -> Scorer:
    loaded = function.load(block)

    def score(prompts: Sequence[str], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[Item]:
        begin = time.perf_counter()
        results = function.call(block, loaded, prompts, completions, columns)
        each = (time.perf_counter() - begin) / max(len(results), 1)
        return [
            _item(one, each) if isinstance(one, Score) else {"failure": ["not-a-number", one], "seconds": each}
            for one in results
        ]

    return score


def _of_kind(block: Any) -> Scorer:
    reads = column(block)

    def score(_: Sequence[str], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[Item]:
        values = columns.get(reads or "", [None] * len(completions))
        if len(completions) == 1:
            return [one(completions[0], values[0])]
        with ThreadPoolExecutor(len(completions)) as threads:  # tests of code wait for the sandbox
            return list(threads.map(one, completions, values))

    def one(completion: str, value: Any) -> Item:
        begin = time.perf_counter()
        try:
            scored = score_one(block.kind, block, completion, value)
        except Exception as error:  # a library's, on text that nobody has thought of
            return {"failure": ["raised", f"{type(error).__name__}: {error}"], "seconds": time.perf_counter() - begin}
        return _item(scored, time.perf_counter() - begin)

    return score


def _item(scored: Score, seconds: float) -> Item:
    return {"score": scored.score, "reason": scored.reason, "seconds": seconds}


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two ends that the parent speaks through. A user's print() then goes to stderr, a read of stdin finds the end."""
    inbox, outbox = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return os.fdopen(inbox, "rb"), os.fdopen(outbox, "wb")


def _send(outbox: BinaryIO, answer: dict[str, Any]) -> None:
    outbox.write(json.dumps(answer).encode() + b"\n")
    outbox.flush()


def _die_with(parent: int) -> None:
    """Be killed when the parent is gone, however it went: a read of stdin would not notice while a function hangs."""
    set_death_signal = 1
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before
        sys.exit()


if __name__ == "__main__":
    main()
