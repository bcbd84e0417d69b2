"""One file a family of methods, each with the same doors: build_rows, build_config, build_trainer, prove."""

from __future__ import annotations

from types import ModuleType

from recipes.schema import Method
from trainer.worker.methods import dpo, grpo, kto, ppo, reward, rloo, sft

# Continued pretraining is TRL's SFTTrainer on plain text, every token trained.
METHODS: dict[Method, ModuleType] = {
    "sft": sft, "cpt": sft, "dpo": dpo, "kto": kto, "reward": reward, "rloo": rloo, "ppo": ppo, "grpo": grpo,
}  # fmt: skip
