"""The pocket base: a small Llama pretrained on the world's text, on any CPU, in a minute or two."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from trainer.pocket.world import World

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Progress = Callable[[int, int, float], None]  # step, total steps, loss


@dataclass(frozen=True)
class Pretraining:
    """Size and schedule. Widths are multiples of 64, the block that NF4 quantizes."""

    hidden_size: int = 128
    intermediate_size: int = 384
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    steps: int = 1000
    batch_size: int = 40
    learning_rate: float = 6e-3
    warmup_steps: int = 50
    seed: int = 0


def untrained(tokenizer: PreTrainedTokenizerFast, settings: Pretraining) -> LlamaForCausalLM:
    """The base with fresh weights, by the settings' seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def pretrain(
    tokenizer: PreTrainedTokenizerFast, world: World, settings: Pretraining, progress: Progress | None = None
) -> LlamaForCausalLM:
    """The base after `settings.steps` steps of AdamW under warm-up and cosine, the same for the same seed and threads."""
    import torch

    model = untrained(tokenizer, settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    batches = _batches(tokenizer, world, settings.batch_size)
    model.train()
    for step in range(1, settings.steps + 1):
        tokens, labels = next(batches)
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if progress and (step % 10 == 0 or step == settings.steps):
            progress(step, settings.steps, loss.item())
    return model.eval()


def _rate(step: int, settings: Pretraining) -> float:
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


def _batches(
    tokenizer: PreTrainedTokenizerFast, world: World, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(token ids, labels) of whole documents, one a row, padded on the right: they are about equally long.

    A row of several documents would be cheaper by little, and copying from the right one is then learned later.
    """
    documents = world.pretraining()
    while True:
        batch = tokenizer(
            list(islice(documents, batch_size)), add_special_tokens=False, padding=True, return_tensors="pt"
        )
        yield batch["input_ids"], batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
