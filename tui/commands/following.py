"""A run told line by line on stderr until it ends, and a run as the JSON that commands print."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

from trainer.runs.events import parse
from trainer.runs.folder import RunFolder
from trainer.runs.model import Event, RunSummary
from trainer.runs.registry import summary
from trainer.text import one_line
from tui.units import compact, duration

_EVERY_S = 2.0


def summary_json(run: RunFolder) -> dict[str, Any]:
    """The run as `--json` prints it."""
    return asdict(summary(run))


def follow(run: RunFolder) -> int:
    """Tell the run until it ends; 0 where it finished, 1 where not. Ctrl-C leaves the run running."""
    told = 0.0
    offset = 0
    try:
        while True:
            before = summary(run)
            lines, offset = _new_lines(run, offset)
            for line in lines:
                event = parse(line)
                if event is None:
                    continue
                if event["type"] == "step":
                    if time.monotonic() - told < _EVERY_S and event["step"] != event["total"]:
                        continue
                    told = time.monotonic()
                if said := in_words(event):
                    print(said, file=sys.stderr, flush=True)
            if not before.live:
                return _ended(before)
            time.sleep(0.2)
    except KeyboardInterrupt:
        print(
            f"\nthe run goes on; `burnish watch {run.id}` comes back to it, `burnish stop {run.id}` ends it",
            file=sys.stderr,
        )
        raise


def in_words(event: Event) -> str:
    """One event as one line, empty for what need not be told."""
    kind = event["type"]
    if kind == "phase":
        return f"{event['phase']}: {event['detail']}" if event.get("detail") else str(event["phase"])
    if kind == "model":
        share = f"{event['trainable_share']:.2%}"
        return (
            f"model {one_line(event['base'])}: {compact(event['parameters'])} parameters, "
            f"{compact(event['trainable'])} trained ({share}), {event['tuning']}, {event['dtype']}, {event['device']}"
        )
    if kind == "data":
        dropped = "".join(f", {count} dropped: {one_line(rule)}" for rule, count in event["dropped"].items())
        return (
            f"data {event['format']}: {event['train_rows']} rows to train on, {event['eval_rows']} held out{dropped}; "
            f"{_tokens(event)}"
        )
    if kind == "step":
        loss = "no number" if event.get("loss") is None else f"{event['loss']:.4f}"
        speed = f"  {compact(event['tokens_per_s'])} tok/s" if event.get("tokens_per_s") else ""
        eta = duration(event.get("eta_s") or 0)
        return f"step {event['step']}/{event['total']}  loss {loss}{_measures(event, '')}{speed}  eta {eta}"
    if kind == "eval":
        loss = "no number" if event.get("eval_loss") is None else f"{event['eval_loss']:.4f}"
        return f"eval at step {event['step']}: loss {loss}{_measures(event, 'eval_')}"
    if kind == "checkpoint":
        return f"saved {event['path']} ({event['reason']})"
    if kind in ("warning", "alert"):
        return f"{kind}: {one_line(str(event.get('message', '')))}"
    if kind == "control.ack":
        return f"{event['request']} asked by {one_line(event['by'])}"
    return ""


# What tells more than the loss, by TRL's names, with the names that people use.
_MEASURES = {
    "rewards/margins": "margin", "rewards/accuracies": "accuracy", "margin": "margin", "accuracy": "accuracy",
    "reward": "reward", "frac_reward_zero_std": "groups without variance", "kl": "KL",
}  # fmt: skip


def _measures(event: Event, prefix: str) -> str:
    found = {words: event.get(prefix + name) for name, words in _MEASURES.items()}
    return "".join(f"  {words} {compact(value)}" for words, value in found.items() if value is not None)


def _tokens(event: Event) -> str:
    """What of the rows is trained; of prompts that completions are drawn for, how long they are."""
    if "prompt_tokens_max" in event:
        return f"prompts of {event['prompt_tokens_mean']:g} tokens on average, {event['prompt_tokens_max']} at most"
    masking = f" ({event['masking']})" if "masking" in event else ""
    return (
        f"{compact(event['trained_tokens'])} tokens trained, {compact(event['masked_tokens'])} masked{masking}, "
        f"answers' end trained in {event['eos_trained']:.0%}"
    )


def tell_verdict(ended: RunSummary) -> list[str]:
    """How a run ended, in a few lines."""
    if ended.verdict is None:
        return [ended.state]
    lines = [f"{ended.state}: {one_line(ended.verdict.message)}"]
    if ended.verdict.hint:
        lines.append(f"  {one_line(ended.verdict.hint)}")
    if ended.state != "finished":
        lines += [f"  | {one_line(line, 160)}" for line in ended.verdict.log[-6:]]
    return lines


def _ended(ended: RunSummary) -> int:
    for line in tell_verdict(ended):
        print(line, file=sys.stderr)
    return 0 if ended.state == "finished" else 1


def _new_lines(run: RunFolder, offset: int) -> tuple[list[bytes], int]:
    try:
        with run.events.open("rb") as log:
            log.seek(offset)
            text = log.read()
    except FileNotFoundError:
        return [], offset
    whole = text.rfind(b"\n") + 1
    return text[:whole].splitlines(), offset + whole
