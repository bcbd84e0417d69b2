"""4-bit layers give the same gradients after an evaluation as before it."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from tests.trainer.worker.helpers import on_tiny
from trainer.worker import models


def test_an_evaluation_leaves_the_gradients_of_4_bit_layers_as_they_were(tiny_model: Path) -> None:
    recipe = on_tiny(tiny_model, "sft-qlora").recipe
    model, tokenizer = models.load(recipe, str(tiny_model), models.pick_device(recipe.resources))
    torch.manual_seed(0)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    ids = tokenizer("Ben has 3 pens and gives 2 away.", return_tensors="pt")["input_ids"]

    def gradients() -> dict[str, torch.Tensor]:
        model.train()
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    after = gradients()
    assert before.keys() == after.keys()
    assert any(g.abs().max() > 0 for g in before.values())
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, msg=name)
