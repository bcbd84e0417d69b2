"""For every key of the recipe: another value, where its effect is seen, and what is seen then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recipes.errors import BurnishError
from recipes.loading import load
from recipes.schema import Recipe
from tests.trainer.worker.bench import CPU, ROWS, Bench
from tests.trainer.worker.helpers import Worked, new_run, on_tiny, work_here
from trainer.datasets.splits import Split
from trainer.worker import models
from trainer.worker.methods import ppo
from trainer.worker.methods.common import Scene


@dataclass(frozen=True)
class Knob:
    """`--set KEY=value` on a library recipe under `given` makes `seen` say `then`; FILES stands for the bench's files."""

    value: str
    seen: Callable[[Bench, Recipe], Any]
    then: Any
    given: tuple[str, ...] = ()
    recipe: str = "sft-lora"
    small: bool = False  # on the tiny model, with the small settings of these tests

    def load(self, bench: Bench, *overrides: str) -> Recipe:
        """The recipe with what is given and then `overrides`."""
        texts = [bench.placed(text) for text in (*self.given, *overrides)]
        if self.small:
            return on_tiny(bench.model, self.recipe, "training.max_steps=1", *texts).recipe
        return load(self.recipe, texts).recipe

    def expected(self, bench: Bench) -> Any:
        return bench.placed(self.then) if isinstance(self.then, str) else self.then


def config(name: str, value: str, then: Any, *given: str, recipe: str = "sft-lora") -> Knob:
    """A key that shows as the field `name` of TRL's config."""
    return Knob(value, lambda bench, recipe: getattr(bench.config(recipe), name), then, given, recipe)


def adapter(name: str, value: str, then: Any) -> Knob:
    """A key that shows as the field `name` of PEFT's config."""
    return Knob(value, lambda bench, recipe: getattr(bench.adapter(recipe), name), then)


def four_bits(name: str, value: str, then: str) -> Knob:
    """A key that shows as the field `name` of the configuration of bitsandbytes."""
    return Knob(value, lambda b, recipe: str(getattr(b.four_bits(recipe), name)), then, recipe="sft-qlora")


def loading(name: str, value: str, then: str) -> Knob:
    """A key that shows among the arguments of `from_pretrained`."""
    return Knob(value, lambda bench, recipe: str(bench.loading(recipe)[name]), then)


def rows(value: str, seen: Callable[[Split], Any], then: Any, *given: str, recipe: str = "sft-lora") -> Knob:
    """A key that shows in the rows that are trained on or held out."""
    return Knob(value, lambda bench, it: seen(bench.split(it)), then, given, recipe)


def worked(value: str, seen: Callable[[Worked], Any], then: Any, *given: str) -> Knob:
    """A key that shows in what a run of one step does."""
    return Knob(value, lambda bench, recipe: seen(bench.work(recipe)), then, given, small=True)


def first_question(split: Split) -> Any:
    return split.train[0]["prompt"][-1]["content"]


def adapter_and_four_bits(bench: Bench, recipe: Recipe) -> tuple[bool, bool]:
    return bench.adapter(recipe) is not None, "quantization_config" in bench.loading(recipe)


def layers(worked: Worked) -> int:
    """Layers of the base, by the adapter that was trained on it."""
    from safetensors import safe_open

    with safe_open(worked.run.adapter / "adapter_model.safetensors", "pt") as weights:
        return len({name.split(".layers.")[1].split(".")[0] for name in weights.keys()})  # noqa: SIM118 - no dict


def layers_of_the_value_model(bench: Bench, recipe: Recipe) -> int:
    scene = Scene(CPU, bench.home, recipe.model.base, lambda kind, message: None)
    value_model, _ = ppo.value_model(recipe, scene)
    return int(value_model.config.num_hidden_layers)


def steps_until_it_ends(bench: Bench, recipe: Recipe) -> int:
    return len(work_here(new_run(recipe, bench.home)).events("step"))


def tokens_of_a_sample(worked: Worked) -> int:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(worked.run.adapter)
    return len(tokenizer.encode(worked.events("sample")[0]["completion"], add_special_tokens=False))


def visible_gpus(environment: dict[str, str]) -> tuple[str | None, str | None]:
    return environment.get("CUDA_VISIBLE_DEVICES"), environment.get("CUDA_DEVICE_ORDER")


def kind_of_device(recipe: Recipe) -> str:
    try:
        return models.pick_device(recipe.resources).kind
    except BurnishError:
        return "refused"


def kept_or_refused(bench: Bench, recipe: Recipe) -> Any:
    try:
        return dict(bench.split(recipe).train_count.dropped)
    except BurnishError:
        return "refused"


def other_device() -> tuple[str, str]:
    """(a device that `auto` would not take here, what comes of asking for it)."""
    import torch

    return ("cpu", "cpu") if torch.cuda.is_available() else ("cuda", "refused")


def of(block: str, *, recipe: str, **fields: tuple[str, Any]) -> dict[str, Knob]:
    """Keys of a method's own block, each of which shows as the field of the same name of the method's config."""
    return {f"{block}.{name}": config(name, value, then, recipe=recipe) for name, (value, then) in fields.items()}


# What is the same in every method that draws completions.
DRAWN: dict[str, tuple[str, Any]] = {
    "max_completion_length": ("7", 7), "temperature": ("0.7", 0.7), "top_p": ("0.7", 0.7), "top_k": ("7", 7),
    "repetition_penalty": ("1.7", 1.7), "num_generations": ("16", 16), "num_iterations": ("7", 7),
    "use_vllm": ("true", True), "vllm_mode": ("server", "server"), "vllm_gpu_memory_utilization": ("0.7", 0.7),
    "vllm_server_base_url": ("http://127.0.0.1:1", "http://127.0.0.1:1"),
}  # fmt: skip

# The loss is a number at the first step and at none after it.
EXPLODES = ("training.learning_rate=1e30", "training.max_steps=6", "data.eval=none", "data.eval_fraction=0")
ASKED = "data.train=FILES/asked.jsonl"
ALL = "data.eval_fraction=0"
KNOBS: dict[str, Knob] = {
    "method": rows("cpt", lambda split: split.layout.format, "text"),
    # The other base has one layer instead of three: its weights were really loaded.
    "model.base": worked("FILES/smaller", layers, 1),
    "model.revision": loading("revision", "v2", "v2"),
    "model.tuning": Knob("full", adapter_and_four_bits, (False, False), recipe="sft-qlora"),
    "model.dtype": loading("dtype", "float16", "torch.float16"),
    "model.attn_implementation": loading("attn_implementation", "eager", "eager"),
    "model.quantization.bnb_4bit_quant_type": four_bits("bnb_4bit_quant_type", "fp4", "fp4"),
    "model.quantization.bnb_4bit_use_double_quant": four_bits("bnb_4bit_use_double_quant", "false", "False"),
    "model.quantization.bnb_4bit_compute_dtype": four_bits("bnb_4bit_compute_dtype", "float16", "torch.float16"),
    "model.quantization.bnb_4bit_quant_storage": four_bits("bnb_4bit_quant_storage", "bfloat16", "torch.bfloat16"),
    "model.lora.r": adapter("r", "7", 7),
    "model.lora.lora_alpha": adapter("lora_alpha", "7", 7),
    "model.lora.lora_dropout": adapter("lora_dropout", "0.25", 0.25),
    "model.lora.target_modules": adapter("target_modules", "[q_proj, v_proj]", {"q_proj", "v_proj"}),
    "model.lora.modules_to_save": adapter("modules_to_save", "[lm_head]", ["lm_head"]),
    "model.lora.use_rslora": adapter("use_rslora", "true", True),
    "model.lora.use_dora": adapter("use_dora", "true", True),
    "model.lora.init_lora_weights": adapter("init_lora_weights", "gaussian", "gaussian"),
    "data.train": rows("FILES/asked.jsonl", first_question, "1+0?", ALL),
    "data.eval": rows("FILES/asked.jsonl", lambda split: len(split.eval), ROWS),
    "data.eval_fraction": rows("0.5", lambda split: len(split.eval), ROWS // 2, ASKED),
    "data.format": rows("text", lambda split: split.layout.format, "text", ASKED),
    "data.columns": rows("{question: other}", first_question, "2+0?", ASKED, ALL),
    "data.system": rows("Be short.", lambda split: split.train[0]["prompt"][0]["content"], "Be short."),
    "data.chat_template_path": config("chat_template_path", "FILES/other.jinja", "FILES/other.jinja"),
    "data.masking": Knob(
        "completion_only", lambda b, recipe: b.masking(recipe), "completion_only", ("data.train=FILES/talks.jsonl",)
    ),
    "data.untrainable": Knob("drop", kept_or_refused, {"answer is empty": 1}, ("data.train=FILES/gap.jsonl",)),
    "data.max_rows": rows("7", lambda split: len(split.train), 7, ASKED),
    "data.max_eval_rows": rows("7", lambda split: len(split.eval), 7, "data.eval=FILES/asked.jsonl"),
    "training.num_train_epochs": config("num_train_epochs", "2.5", 2.5),
    "training.max_steps": config("max_steps", "7", 7),
    "training.per_device_train_batch_size": config("per_device_train_batch_size", "7", 7),
    "training.gradient_accumulation_steps": config("gradient_accumulation_steps", "7", 7),
    "training.learning_rate": config("learning_rate", "7e-3", 7e-3),
    "training.lr_scheduler_type": config("lr_scheduler_type", "linear", "linear"),
    "training.warmup_steps": config("warmup_steps", "7", 7),
    "training.weight_decay": config("weight_decay", "0.7", 0.7),
    "training.max_grad_norm": config("max_grad_norm", "0.7", 0.7),
    "training.optim": config("optim", "sgd", "sgd"),
    "training.max_length": config("max_length", "77", 77),
    "training.gradient_checkpointing": config("gradient_checkpointing", "false", False),
    "training.neftune_noise_alpha": config("neftune_noise_alpha", "5", 5.0),
    "training.logging_steps": config("logging_steps", "7", 7),
    "training.save_steps": config("save_steps", "7", 7),
    "training.save_total_limit": config("save_total_limit", "7", 7),
    "training.dataloader_num_workers": config("dataloader_num_workers", "1", 1),
    "training.seed": config("seed", "7", 7),
    "training.data_seed": config("data_seed", "7", 7),
    "training.extra": config("adam_beta2", "{adam_beta2: 0.7}", 0.7),
    "sft.packing": config("packing", "true", True, "model.attn_implementation=flash_attention_2"),
    "sft.loss_type": config("loss_type", "dft", "dft"),
    **of(
        "dpo",
        recipe="dpo",
        beta=("0.7", 0.7),
        precompute_ref_log_probs=("true", True),
        sync_ref_model=("true", True),
        loss_type=("[hinge, sft]", ["hinge", "sft"]),
        loss_weights=("[0.5]", [0.5]),
        label_smoothing=("0.1", 0.1),
        f_divergence_type=("js_divergence", "js_divergence"),
        ld_alpha=("0.5", 0.5),
        use_weighting=("true", True),
    ),
    **of(
        "kto",
        recipe="kto",
        beta=("0.7", 0.7),
        precompute_ref_log_probs=("true", True),
        sync_ref_model=("true", True),
        loss_type=("apo_zero_unpaired", "apo_zero_unpaired"),
        desirable_weight=("0.7", 0.7),
        undesirable_weight=("0.7", 0.7),
    ),
    **of("reward", recipe="reward-model", center_rewards_coefficient=("0.7", 0.7)),
    **of(
        "rloo",
        recipe="rlhf",
        **DRAWN,
        mask_truncated_completions=("true", True),
        beta=("0.7", 0.7),
        epsilon=("0.7", 0.7),
        normalize_advantages=("true", True),
        reward_clip_range=("[-1.0, 1.0]", [-1.0, 1.0]),
    ),
    **of(
        "grpo",
        recipe="rft-math",
        **DRAWN,
        mask_truncated_completions=("true", True),
        loss_type=("dr_grpo", "dr_grpo"),
        scale_rewards=("batch", "batch"),
        importance_sampling_level=("sequence", "sequence"),
        beta=("0.7", 0.7),
        epsilon=("0.7", 0.7),
        epsilon_high=("0.7", 0.7),
        delta=("1.7", 1.7),
        top_entropy_quantile=("0.7", 0.7),
        multi_objective_aggregation=("normalize_then_sum", "normalize_then_sum"),
    ),
    **of(
        "ppo",
        recipe="ppo",
        **DRAWN,
        mask_truncated_completions=("true", True),
        kl_coef=("0.7", 0.7),
        kl_estimator=("k3", "k3"),
        cliprange=("0.7", 0.7),
        cliprange_value=("0.7", 0.7),
        vf_coef=("0.7", 0.7),
        gamma=("0.7", 0.7),
        lam=("0.7", 0.7),
        whiten_rewards=("true", True),
        missing_eos_penalty=("0.7", 0.7),
    ),
    "ppo.value_base": Knob("FILES/scorer", layers_of_the_value_model, 1, recipe="ppo", small=True),
    "rewards": Knob(
        "{short: {kind: length, weight: 0.7}}",
        lambda bench, recipe: (list(recipe.rewards), bench.config(recipe).reward_weights),
        (["short"], [0.7]),
        recipe="rft-math",
    ),
    "evaluation.eval_steps": config("eval_steps", "7", 7),
    "evaluation.per_device_eval_batch_size": config("per_device_eval_batch_size", "7", 7),
    "evaluation.eval_on_start": config("eval_on_start", "false", False),
    "evaluation.samples": worked("3", lambda run: {event["index"] for event in run.events("sample")}, {0, 1, 2}),
    "evaluation.max_new_tokens": worked("1", tokens_of_a_sample, 1),
    "health.stop_on": Knob("[]", steps_until_it_ends, 6, EXPLODES, small=True),
    "health.patience": Knob("1", steps_until_it_ends, 2, EXPLODES, small=True),
    "resources.device": Knob(other_device()[0], lambda _, recipe: kind_of_device(recipe), other_device()[1]),
    "resources.gpus": Knob(
        "['2', '0']", lambda bench, recipe: visible_gpus(bench.environment(recipe)), ("2,0", "PCI_BUS_ID")
    ),
    "resources.cpu_threads": worked("2", lambda run: run.threads, 2),
    "resources.min_free_disk_gib": worked("1e9", lambda run: [a["kind"] for a in run.events("alert")], ["disk"]),
}
