"""Greedy answers of a model, in batches, padded on the left."""

from __future__ import annotations

from typing import Any


def answers(model: Any, tokenizer: Any, prompts: list[Any], *, max_new_tokens: int, batch_size: int = 64) -> list[str]:
    """One answer a prompt, without special tokens; a prompt is text or a list of messages (the template is applied)."""
    import torch

    texts = [
        prompt
        if isinstance(prompt, str)
        else tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    found: list[str] = []
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    try:
        for start in range(0, len(texts), batch_size):
            # The template has put in every special token that the model wants: none is added a second time.
            batch = tokenizer(
                texts[start : start + batch_size],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            ).to(model.device)
            with torch.no_grad():
                output = model.generate(
                    **batch, max_new_tokens=max_new_tokens, do_sample=False, use_cache=True, pad_token_id=pad
                )
            width = batch["input_ids"].shape[1]
            found += tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    finally:
        tokenizer.padding_side = side
    return found
