"""A run that goes on from another: its adapter is trained further, on one base, and what it is compared with is its start."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes.errors import RecipeError
from tests.trainer.worker.helpers import on_tiny, work
from tests.trainer.worker.test_by_hand import PAIRS, loss_of, trainer_of
from trainer.planning.places import made_whole


def chosen_log_probability(model: Path, adapter: Path, rows: list[dict[str, Any]], *, four_bits: bool) -> float:
    """Mean over rows of the summed log-probability of the chosen answer, of the base with that adapter on it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    base = AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, quantization_config=quantized if four_bits else None
    )
    tuned = PeftModel.from_pretrained(base, str(adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    total = 0.0
    for row in rows:
        start = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template([*row["prompt"], *row["chosen"]], return_dict=True)["input_ids"]
        with torch.no_grad():
            logits = tuned(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        total += sum(float(logits[at - 1, whole[at]]) for at in range(len(start), len(whole)))
    return total / len(rows)


@pytest.mark.parametrize("tuning", ["lora", "qlora"])
def test_dpo_goes_on_with_the_adapter_of_sft(tuning: str, home: Path, tiny_model: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "pairs.jsonl"
    held_out.write_text("".join((tiny_model / "pairs_validation.jsonl").read_text().splitlines(keepends=True)[:4]))
    rows = [json.loads(line) for line in held_out.read_text().splitlines()]
    sft = work(home, tiny_model, "sft-qlora", f"model.tuning={tuning}", name="sft")
    overrides = (f"model.tuning={tuning}", f"data.eval={held_out}", "training.learning_rate=1e-2")
    dpo = work(home, tiny_model, "dpo", "model.base=run:sft", *overrides)
    assert dpo.run.record()["parent"] == sft.run.id
    before, after = dpo.events("eval")
    # Policy and reference are the same at the start, the SFT run's result: the margin is nothing, the loss log 2.
    assert before["eval_loss"] == pytest.approx(math.log(2), abs=1e-3)
    four_bits = tuning == "qlora"
    start = chosen_log_probability(tiny_model, sft.run.adapter, rows, four_bits=four_bits)
    assert before["eval_logps/chosen"] == pytest.approx(start, rel=2e-3)
    # The result is one adapter on the first base, not one on top of another.
    end = chosen_log_probability(tiny_model, dpo.run.adapter, rows, four_bits=four_bits)
    assert after["eval_logps/chosen"] == pytest.approx(end, rel=2e-3)
    assert abs(end - start) > abs(start) * 5e-3
    assert not (dpo.run.adapter / "ref").exists()


def test_full_tuning_merges_the_adapter_into_the_base_first(home: Path, tiny_model: Path) -> None:
    sft = work(home, tiny_model, "sft-lora", name="sft")
    full = work(home, tiny_model, "sft-full", "model.base=run:sft", name="whole")
    assert full.events("eval")[0]["eval_loss"] == pytest.approx(sft.events("eval")[-1]["eval_loss"], rel=1e-4)
    assert not (full.run.adapter / "adapter_config.json").exists()
    again = work(home, tiny_model, "sft-lora", "model.base=run:whole")
    assert again.events("eval")[0]["eval_loss"] == pytest.approx(full.events("eval")[-1]["eval_loss"], rel=1e-4)


def test_the_parents_adapter_decides_its_shape(home: Path, tiny_model: Path) -> None:
    work(home, tiny_model, "sft-lora", "model.lora.r=4", name="sft")
    loaded, _ = made_whole(on_tiny(tiny_model, "dpo", "model.base=run:sft"), home)
    assert loaded.recipe.model.lora.r == 4
    assert loaded.origin("model.lora.r").startswith("run:")
    with pytest.raises(RecipeError, match=r"model\.lora\.r is 4 in .*-sft-"):
        made_whole(on_tiny(tiny_model, "dpo", "model.base=run:sft", "model.lora.r=8"), home)


def test_dpo_under_an_adapter_holds_the_weights_once(tiny_model: Path, tmp_path: Path) -> None:
    """Weights in memory while a step is taken: with an adapter one base, under full tuning the base and its copy."""

    def weights(*overrides: str) -> int:
        gc.collect()
        before = {id(held) for held in gc.get_objects() if isinstance(held, torch.nn.Parameter)}
        trainer = trainer_of(tiny_model, tmp_path, "dpo", PAIRS, *overrides)
        loss_of(trainer)
        held = {
            held.data_ptr(): held.numel() * held.element_size()
            for held in gc.get_objects()
            if isinstance(held, torch.nn.Parameter) and id(held) not in before
        }
        return sum(held.values())

    base = sum(file.stat().st_size for file in tiny_model.glob("*.safetensors"))
    adapter = weights("model.tuning=lora", "model.lora.r=2") - base
    assert 0 < adapter < 0.2 * base
    assert weights("model.tuning=full") == pytest.approx(2 * base, rel=0.01)


TEMPLATE = (
    "{% for message in messages %}{{ '[' + message['role'] + ']' + message['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


@pytest.mark.parametrize("recipe", ["dpo", "kto", "reward-model", "rft-math"])
def test_every_method_trains_under_the_template_of_the_recipe(
    recipe: str, home: Path, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "plain.jinja"
    file.write_text(TEMPLATE)
    changed = () if recipe != "rft-math" else ("grpo.num_generations=2", "rewards={short: {kind: length}}")
    lengths = []
    for template in ("none", str(file)):
        worked = work(home, tiny_model, recipe, f"data.chat_template_path={template}", *changed)
        (data,) = worked.events("data")
        lengths.append(data.get("masked_tokens", 0) + data.get("trained_tokens", 0) or data["prompt_tokens_mean"])
    assert lengths[0] != lengths[1]
    assert (worked.run.adapter / "chat_template.jinja").read_text() == TEMPLATE


def test_a_run_goes_on_under_the_template_of_its_parent(home: Path, tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "plain.jinja"
    file.write_text(TEMPLATE)
    work(home, tiny_model, "sft-lora", f"data.chat_template_path={file}", name="sft")
    dpo = work(home, tiny_model, "dpo", "model.base=run:sft")
    assert (dpo.run.adapter / "chat_template.jinja").read_text() == TEMPLATE
