"""Fresh completions of a recipe's model, drawn as its method draws them, in a process of its own: no torch here.

`python -P -m trainer.evaluation.draw` reads one JSON request from stdin and ends when stdin does. On stdout it tells, one
JSON object a line: {"progress": text}, {"completions": [text, …]} for each prompt, or {"error": [message, hint]}.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from recipes.errors import BurnishError
from recipes.loading import from_record
from recipes.schema import Recipe
from trainer.errors import LaunchError, ModelError
from trainer.home import burnish_home
from trainer.pocket import cache
from trainer.runs.lineage import resolve
from trainer.text import clean

_AT_ONCE = 64  # completions that are generated together


class Drawing:
    """The process that draws, as a context manager. The end of this process ends it too."""

    def __init__(self, recipe: Recipe, prompts: Sequence[Any], generations: int, home: Path | None = None) -> None:
        """Raises RunError or ModelError where the recipe's base is a run that cannot be gone on from."""
        lineage = resolve(recipe.model.base, home)
        request = {
            "recipe": recipe.model_dump(),
            "home": str(home or burnish_home()),
            "base": lineage.base,
            "adapter": str(lineage.adapter) if lineage.adapter else None,
            "prompts": list(prompts),
            "generations": generations,
        }
        self._stack = contextlib.ExitStack()
        self._said = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trainer.evaluation.draw"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )
        self._stack.enter_context(self._process)
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended already: wait() tells why
            self._process.stdin.write(json.dumps(request, default=str).encode() + b"\n")
            self._process.stdin.flush()

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cancel()
        self._stack.close()

    def wait(self, progress: Callable[[str], None]) -> list[list[str]]:
        """The completions of each prompt. Raises ModelError for a model that cannot be loaded, LaunchError else."""
        assert self._process.stdout
        found: list[list[str]] = []
        for line in self._process.stdout:
            told = json.loads(line)
            if "error" in told:
                raise ModelError(*told["error"])
            if "progress" in told:
                progress(told["progress"])
            else:
                found.append(told["completions"])
        if code := self._process.wait():
            said = self._last_words(code)
            raise LaunchError(f"drawing completions failed: {said}", "`burnish doctor` checks the box")
        return found

    def cancel(self) -> None:
        """End the process, whatever it does, from any thread: `wait` then raises."""
        self._process.kill()

    def _last_words(self, code: int) -> str:
        self._said.seek(0)
        lines = clean(self._said.read().decode(errors="replace")).strip().splitlines()
        return lines[-1] if lines else f"the process ended with {code}"


def main() -> None:
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def tell(**told: Any) -> None:
        print(json.dumps(told), file=out, flush=True)

    try:
        for completions in _draw(request, lambda text: tell(progress=text)):
            tell(completions=completions)
    except BurnishError as error:
        tell(error=[error.message, error.hint])


def _draw(request: dict[str, Any], progress: Callable[[str], None]) -> Iterator[list[str]]:
    recipe, generations = from_record(request["recipe"]), request["generations"]
    model, tokenizer = _load(recipe, request, progress)
    rollout = getattr(recipe, recipe.method)
    settings = {
        "do_sample": True,
        "num_return_sequences": generations,
        "max_new_tokens": rollout.max_completion_length,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "top_k": rollout.top_k,
        "repetition_penalty": rollout.repetition_penalty,
    }
    texts = [_as_text(tokenizer, prompt) for prompt in request["prompts"]]
    width = max(_AT_ONCE // generations, 1)
    for start in range(0, len(texts), width):
        progress(f"drawing completion {start * generations + 1} of {len(texts) * generations}")
        drawn = _generate(model, tokenizer, texts[start : start + width], settings)
        yield from (drawn[at : at + generations] for at in range(0, len(drawn), generations))


def _load(recipe: Recipe, request: dict[str, Any], progress: Callable[[str], None]) -> tuple[Any, Any]:
    """The model as a run of the recipe begins with it. Raises ModelError."""
    base = request["base"]
    if base == "pocket":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")

        def building(step: int, steps: int, _: float) -> None:
            progress(f"building the pocket model, step {step} of {steps}")

        base = str(cache.ensure(Path(request["home"]), building))
    progress(f"loading {recipe.model.base}")
    import torch

    from trainer.worker import models

    if recipe.resources.cpu_threads:
        torch.set_num_threads(recipe.resources.cpu_threads)
    torch.manual_seed(recipe.training.seed)
    adapter = Path(request["adapter"]) if request["adapter"] else None
    model, tokenizer = models.load_to_train(recipe, base, adapter, models.pick_device(recipe.resources))
    return model.eval(), tokenizer


def _as_text(tokenizer: Any, prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))


def _generate(model: Any, tokenizer: Any, texts: list[str], settings: dict[str, Any]) -> list[str]:
    import torch

    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # The template has put in every special token that the model wants: none is added a second time.
    batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False)
    with torch.inference_mode():
        output = model.generate(**batch.to(model.device), **settings, pad_token_id=tokenizer.pad_token_id)
    return list(tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True))


def _end_with_stdin() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock this thread would hold when the process ends
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
