"""One file a family of methods, each with the same doors: build_config, build_peft_config, build_trainer."""

from __future__ import annotations

from types import ModuleType

from recipes.schema import Method
from trainer.worker.methods import sft

# Continued pretraining is TRL's SFTTrainer on plain text, every token trained.
METHODS: dict[Method, ModuleType] = {"sft": sft, "cpt": sft}
