"""The pocket base: a small Llama pretrained on the world's text, on any CPU, in a minute or two."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    steps: int = 700
    batch_size: int = 64
    block_tokens: int = 64
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
    blocks = _blocks(tokenizer, world, settings)
    model.train()
    for step in range(1, settings.steps + 1):
        batch = next(blocks)
        loss = model(input_ids=batch, labels=batch).loss
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


def _blocks(tokenizer: PreTrainedTokenizerFast, world: World, settings: Pretraining) -> Iterator[torch.Tensor]:
    """Batches of `(batch_size, block_tokens)` token ids: whole documents, a pad token between two, the last one cut."""
    import torch

    documents = world.pretraining()
    rows: list[list[int]] = []
    row: list[int] = []
    while True:
        for ids in tokenizer([next(documents) for _ in range(256)], add_special_tokens=False)["input_ids"]:
            row += [*ids, tokenizer.pad_token_id]
            if len(row) >= settings.block_tokens:  # the next row starts with a document of its own
                rows.append(row[: settings.block_tokens])
                row = []
        while len(rows) >= settings.batch_size:
            yield torch.tensor(rows[: settings.batch_size])
            rows = rows[settings.batch_size :]
