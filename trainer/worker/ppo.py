"""PPO with a value model over TRL's rollouts, for one process.

TRL 1.16 has no PPO. Generation, reward functions, buffering, logs and checkpoints are its GRPOTrainer's; advantages of
tokens, the two losses and the value model are ours. The reference is what GRPOTrainer holds for `beta > 0`: under PEFT
the policy with its adapter switched off, else a frozen copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import is_peft_model
from peft import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import disable_dropout_in_model

from recipes.errors import RecipeError
from trainer.errors import ModelError
from trainer.worker import advantages as ppo

_VALUE_FOLDER = "value_model"
_ROLLOUTS_FILE = "rollouts.safetensors"

# Fields of GRPOConfig that shape GRPO's own advantages and loss: set, they would look as if they counted.
_UNREAD = (
    "beta", "epsilon", "epsilon_high", "delta", "loss_type", "scale_rewards", "multi_objective_aggregation",
    "importance_sampling_level", "top_entropy_quantile", "entropy_coef", "use_adaptive_entropy",
    "off_policy_mask_threshold", "use_bias_correction_kl", "router_aux_loss_coef",
)  # fmt: skip


def _knob(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass
class PPOConfig(GRPOConfig):  # type: ignore[misc]
    """GRPOConfig's rollouts with the knobs of TRL's former PPOConfig; `num_iterations` is its `num_ppo_epochs`.

    Raises RecipeError for a setting of GRPO that PPO does not read.
    """

    kl_coef: float = _knob(0.05, "Weight of the KL divergence from the reference, taken off each token's reward.")
    kl_estimator: Literal["k1", "k3"] = _knob("k1", "Estimator of the KL divergence.")
    cliprange: float = _knob(0.2, "Clip range of the probability ratio.")
    cliprange_value: float = _knob(0.2, "Clip range of a value's change.")
    vf_coef: float = _knob(0.1, "Weight of the value loss.")
    gamma: float = _knob(1.0, "Discount of a token later.")
    lam: float = _knob(0.95, "Lambda of generalised advantage estimation.")
    whiten_rewards: bool = _knob(False, "Whether to scale the rewards of a batch to deviation 1.")
    missing_eos_penalty: float | None = _knob(None, "Taken off the score of a completion that does not end.")

    def __post_init__(self) -> None:
        for name in _UNREAD:
            if getattr(self, name) != GRPOConfig.__dataclass_fields__[name].default:
                raise RecipeError(f"{name} is a setting of GRPO that PPO does not read", "leave it out of the recipe")
        super().__post_init__()
        self.beta = self.kl_coef  # what GRPOTrainer decides by whether to hold a reference


class PPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """Trains a policy, and beside it in the same optimizer a value model, a sequence classifier with one label.

    Raises ModelError for a value model without a trained head of one label, RecipeError for several processes.
    """

    _tag_names = ["trl", "ppo"]
    _name = "PPO"
    _paper = {
        "title": "Proximal Policy Optimization Algorithms",
        "id": "1707.06347",
        "citation": "@article{schulman2017proximal,\n"
        "    title  = {{Proximal Policy Optimization Algorithms}},\n"
        "    author = {John Schulman and Filip Wolski and Prafulla Dhariwal and Alec Radford and Oleg Klimov},\n"
        "    year   = 2017,\n"
        "    eprint = {arXiv:1707.06347},\n"
        "}",
    }

    def __init__(
        self,
        model: Any,
        value_model: Any,
        reward_funcs: Any,
        args: PPOConfig,
        train_dataset: Any,
        eval_dataset: Any = None,
        processing_class: Any = None,
        reward_processing_classes: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        peft_config: Any = None,
    ) -> None:
        super().__init__(
            model=model,
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            reward_processing_classes=reward_processing_classes,
            callbacks=callbacks,
            peft_config=peft_config,
        )
        if self.accelerator.num_processes > 1:
            raise RecipeError("PPO trains in one process", "let the run see one GPU: resources.gpus")
        self.value_model = self._prepared(value_model)
        self.add_callback(_ClearValueGradients(value_model))

    def _prepared(self, value_model: Any) -> Any:
        self._backbone, self._head = _parts(value_model)
        self._head.float()  # in 16 bits the small steps of a small learning rate would round to nothing
        if getattr(value_model, "hf_device_map", None) is None:
            value_model.to(self.accelerator.device)
        if self.args.disable_dropout:
            disable_dropout_in_model(value_model)
        if self.args.gradient_checkpointing:  # transformers before 5.23 know only this name
            value_model.gradient_checkpointing_enable(self.args.gradient_checkpointing_kwargs)
            if is_peft_model(value_model):
                value_model.enable_input_require_grads()
        return value_model

    # --- rollouts ---

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards_per_func: Tensor = super()._calculate_rewards(*args)
        self._rewards_per_func = rewards_per_func
        return rewards_per_func

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """GRPO's batch with advantages of tokens in the place of those of completions, and what the losses need."""
        batch: dict[str, Tensor] = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        rows = self.args.per_device_train_batch_size if mode == "train" else self.args.per_device_eval_batch_size
        if "old_per_token_logps" not in batch:
            batch["old_per_token_logps"] = self._policy(self.model, batch, rows)[0]
        batch["values"] = self._values(batch, rows)
        scores, scorable = self._scores(batch)
        mask = batch["loss_mask"] = batch["completion_mask"] * scorable.unsqueeze(1)
        batch["num_items_in_batch"] = mask.sum()
        kl = self._kl(batch)
        rewards = ppo.token_rewards(scores, kl, mask, self.args.kl_coef)
        self._log_rollouts(mode, scores[scorable], kl * mask)
        if self.args.whiten_rewards:
            rewards = ppo.masked_whiten(rewards, mask, shift_mean=False)
        estimates, batch["returns"] = ppo.estimate_advantages(
            rewards, batch["values"], mask, self.args.gamma, self.args.lam
        )
        batch["advantages"] = ppo.masked_whiten(estimates, mask)
        explained = ppo.explained_variance(batch["values"], batch["returns"], mask)
        self._metrics[mode]["val/explained_variance"].append(explained.item())
        self._show_advantages(batch["advantages"], mask)
        return batch

    def _scores(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The weighted score of each completion, 0 where no reward function gave one, and which have one."""
        rewards = self._rewards_per_func
        scores: Tensor = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        if self.args.missing_eos_penalty is not None:
            eos = torch.tensor(self.eos_token_ids, device=rewards.device)
            ended = (torch.isin(batch["completion_ids"], eos) & batch["completion_mask"].bool()).any(dim=1)
            scores = ppo.penalise_missing_eos(scores, ended, self.args.missing_eos_penalty)
        return scores, ~rewards.isnan().all(dim=1)

    def _kl(self, batch: dict[str, Tensor]) -> Tensor:
        if self.args.kl_coef == 0:
            return torch.zeros_like(batch["values"])
        return ppo.estimate_kl(batch["old_per_token_logps"], batch.pop("ref_per_token_logps"), self.args.kl_estimator)

    def _log_rollouts(self, mode: str, scores: Tensor, kl: Tensor) -> None:
        divergence = kl.sum(dim=1).mean().item()
        metrics = self._metrics[mode]
        metrics["objective/scores"].append(scores.mean().item())
        metrics["objective/rlhf_reward"].append(scores.mean().item() - self.args.kl_coef * divergence)
        if self.args.kl_coef != 0:
            metrics["objective/kl"].append(divergence)

    def _show_advantages(self, advantages: Tensor, mask: Tensor) -> None:
        """In the log of completions, the mean advantage of a completion's tokens in the place of GRPO's."""
        means = (advantages * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        shown = self._logs["advantages"]
        earlier = list(shown)[: -len(means)]
        shown.clear()
        shown.extend([*earlier, *means.tolist()])

    # --- the two models ---

    def _policy(self, model: Any, batch: dict[str, Tensor], rows: int | None = None) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each completion token."""
        ids, attention = _joined(batch)
        length = batch["completion_ids"].shape[1]
        log_probs, entropies, _ = self._get_per_token_logps_and_entropies(
            model, ids, attention, length, batch_size=rows, compute_entropy=True
        )
        return log_probs, entropies

    def _values(self, batch: dict[str, Tensor], rows: int | None = None) -> Tensor:
        """The value of the state before each completion token is emitted: that of the token in front of it."""
        self.value_model.train(torch.is_grad_enabled())
        ids, attention = _joined(batch)
        length = batch["completion_ids"].shape[1]
        values = []
        for start in range(0, len(ids), rows or len(ids)):
            part = slice(start, start + (rows or len(ids)))
            with self.accelerator.autocast():
                states = self._backbone(input_ids=ids[part], attention_mask=attention[part], use_cache=False)
            in_front = states.last_hidden_state[:, -length - 1 : -1]
            values.append(self._head(in_front.float()).squeeze(-1))
        return torch.cat(values)

    # --- the loss ---

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        mask, old_log_probs = inputs["loss_mask"], inputs["old_per_token_logps"]
        log_probs, entropies = self._policy(model, inputs)
        policy_loss, clipped = ppo.clipped_policy_loss(
            log_probs, old_log_probs, inputs["advantages"], self.args.cliprange
        )
        if "importance_sampling_ratio" in inputs:  # vLLM's probabilities differ a little from the policy's
            policy_loss = policy_loss * inputs["importance_sampling_ratio"]
        value_loss, value_clipped = ppo.clipped_value_loss(
            self._values(inputs), inputs["values"], inputs["returns"], self.args.cliprange_value
        )
        self._log_means(
            mask,
            {
                "entropy": entropies,
                "policy/approxkl_avg": 0.5 * (log_probs - old_log_probs) ** 2,
                "policy/clipfrac_avg": clipped.float(),
                "loss/policy_avg": policy_loss,
                "loss/value_avg": value_loss,
                "val/clipfrac_avg": value_clipped.float(),
            },
        )
        loss: Tensor = policy_loss + self.args.vf_coef * value_loss
        return (loss * mask).sum() / self._tokens_of_step(inputs)

    def _tokens_of_step(self, inputs: dict[str, Tensor]) -> Tensor:
        """The mean count of tokens of an optimizer step, so that every token of the rollouts weighs the same."""
        tokens = inputs["num_items_in_batch"].clamp(min=1)
        if self.model.training:
            tokens = tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation
        return tokens

    def _log_means(self, mask: Tensor, per_token: dict[str, Tensor]) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, x in per_token.items():
            metrics[name].append(ppo.masked_mean(x.detach(), mask).item())

    # --- what the Trainer does for one model, done for two ---

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """One optimizer for the trained weights of both models."""
        both = nn.ModuleDict({"policy": model or self.model, "value": self.value_model})
        optimizer: torch.optim.Optimizer = super().create_optimizer(both)
        return optimizer

    def _clip_grad_norm(self, model: Any) -> Any:
        """Clip the gradients of each model by itself; the norm that is logged is the policy's."""
        norm = super()._clip_grad_norm(model)
        nn.utils.clip_grad_norm_(self.value_model.parameters(), self.args.max_grad_norm)
        return norm

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Beside the optimizer: the value model, and the rollouts that `num_iterations` may not be done with."""
        super()._save_optimizer_and_scheduler(output_dir)
        self.value_model.save_pretrained(str(Path(output_dir, _VALUE_FOLDER)))
        rollouts = {"step": torch.tensor(self._step)}
        for index, batch in enumerate(self._buffered_inputs):
            rollouts |= {f"{index}.{name}": tensor.clone() for name, tensor in batch.items()}
        save_file(rollouts, Path(output_dir, _ROLLOUTS_FILE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        folder = str(Path(checkpoint, _VALUE_FOLDER))
        if is_peft_model(self.value_model):  # loaded in place: weights keep their types
            set_peft_model_state_dict(self.value_model, load_peft_weights(folder, device="cpu"))
        else:
            self._load_from_checkpoint(folder, self.value_model)
        rollouts = load_file(Path(checkpoint, _ROLLOUTS_FILE), device=str(self.accelerator.device))
        self._step = int(rollouts.pop("step"))
        self._buffered_inputs: list[dict[str, Tensor]] = [{} for _ in range(self.args.steps_per_generation)]
        for key, tensor in rollouts.items():
            index, _, name = key.partition(".")
            self._buffered_inputs[int(index)][name] = tensor


class _ClearValueGradients(TrainerCallback):  # type: ignore[misc]
    """After a step the Trainer clears the gradients of the policy alone."""

    def __init__(self, value_model: Any) -> None:
        self._value_model = value_model

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._value_model.zero_grad()


def _joined(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of prompts with completions."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)


def _parts(value_model: Any) -> tuple[Any, Any]:
    """Backbone and head. Raises ModelError where there is no trained head of one label."""
    inner = value_model.get_base_model() if is_peft_model(value_model) else value_model
    head = getattr(inner, "score", None)
    if head is None or inner.config.num_labels != 1 or not any(weight.requires_grad for weight in head.parameters()):
        raise ModelError(
            f"{type(inner).__name__} is no value model: it needs a trained `score` head with one label",
            "load it with num_labels=1, and with an adapter name `score` in modules_to_save",
        )
    return getattr(inner, inner.base_model_prefix), head
