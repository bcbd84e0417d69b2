"""The same few held-out prompts answered at every evaluation, without a trace in the training's randomness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trainer.evaluation.generate import answers


def prompts_of(rows: list[dict[str, Any]], count: int) -> list[tuple[Any, str]]:
    """(prompt, reference answer) of the first `count` rows; for plain text the first half of it is the prompt."""
    found: list[tuple[Any, str]] = []
    for row in rows[:count]:
        if "prompt" in row:
            wanted = next((row[key] for key in ("completion", "chosen", "answer") if row.get(key) is not None), "")
            found.append((row["prompt"], str(wanted[-1]["content"]) if isinstance(wanted, list) else str(wanted)))
        elif "messages" in row:
            found.append((row["messages"][:-1], row["messages"][-1]["content"]))
        else:
            words = row["text"].split(" ")
            found.append((" ".join(words[: min(len(words) // 2, 64)]), " ".join(words[len(words) // 2 :])))
    return found


def sample(model: Any, tokenizer: Any, prompts: list[tuple[Any, str]], max_new_tokens: int) -> list[dict[str, Any]]:
    """The model's greedy answer to each prompt, as fields of a `sample` event."""
    with _untouched(model):
        completions = answers(model, tokenizer, [prompt for prompt, _ in prompts], max_new_tokens=max_new_tokens)
    return [
        {
            "index": index,
            "prompt": prompt if isinstance(prompt, str) else prompt[-1]["content"],
            "completion": completion,
            "reference": reference,
        }
        for index, ((prompt, reference), completion) in enumerate(zip(prompts, completions, strict=True))
    ]


@contextmanager
def _untouched(model: Any) -> Iterator[None]:
    """Put random state and training mode back as they were."""
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    training = model.training
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            yield
        finally:
            model.train(training)
