"""A reward model at work: loaded by the run that trained it or from a folder, it scores answers."""

from __future__ import annotations

from typing import Any

from recipes.schema import Recipe
from trainer.errors import ModelError
from trainer.planning.bases import has_score_head
from trainer.pocket import cache
from trainer.runs.lineage import resolve
from trainer.worker import models
from trainer.worker.methods.common import Scene


class Scorer:
    """A reward model in memory, frozen."""

    def __init__(self, base: str, recipe: Recipe, scene: Scene) -> None:
        self.model, self.tokenizer = load(base, recipe, scene)
        self.model.requires_grad_(False).eval()

    def score(self, prompts: list[Any], completions: list[Any]) -> list[float | None]:
        """One score a completion. A conversation is put into the reward model's own chat template."""
        import torch

        texts = [self._joined(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        inputs = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False
        )
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.model.device)).logits[:, 0]
        return [float(value) for value in logits]

    def _joined(self, prompt: Any, completion: Any) -> str:
        if isinstance(prompt, str):
            return prompt + str(completion)
        return str(self.tokenizer.apply_chat_template(prompt + completion, tokenize=False))


def load(base: str, recipe: Recipe, scene: Scene, *, trains: bool = False) -> tuple[Any, Any]:
    """A reward model and its tokenizer, its adapter to be trained further where `trains`.

    Raises ModelError for a run of another method, a model without a score head, a tokenizer without a chat template.
    """
    lineage = resolve(base, scene.home)
    if lineage.parent and lineage.method != "reward":
        raise ModelError(f"{base} is a {lineage.method} run, no reward model", "give a run of the recipe reward-model")
    folder = str(cache.folder(scene.home)) if lineage.base == "pocket" else lineage.base
    if not lineage.adapter and not has_score_head(folder):
        raise ModelError(f"{base} has no score head: it is no reward model", "train one with the recipe reward-model")
    model, tokenizer = models.load(recipe, folder, scene.device, scores=True)
    if lineage.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(lineage.adapter), is_trainable=trains)
        tokenizer = models.tokenizer_of(str(lineage.adapter))  # with the template that it was trained under
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{base} has a tokenizer without a chat template", "a conversation cannot be scored without one"
        )
    return model, tokenizer
