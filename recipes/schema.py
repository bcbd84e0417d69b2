"""The recipe: one typed object that says what to train.

Every field carries its meaning in `description`; names are those of TRL, PEFT, transformers and bitsandbytes wherever
they have one. A field that the trainer does not read is a defect: `tests/trainer/test_every_knob.py` changes each one
and looks for the change in what the method is built with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from recipes import methods
from recipes.block import Block, Positive, Share
from recipes.rewards import Reward

Method = Literal["sft", "cpt", "dpo", "kto", "reward", "rloo", "ppo", "grpo"]
SUPERVISED: tuple[Method, ...] = ("sft", "cpt")
PREFERENCE: tuple[Method, ...] = ("dpo", "kto", "reward")
ROLLOUT: tuple[Method, ...] = ("rloo", "ppo", "grpo")


def _only(*of: Method) -> dict[str, Any]:
    """Marks a field that only these methods read; set for another it is refused, and not shown."""
    return {"json_schema_extra": {"methods": list(of)}}


class Quantization(Block):
    """How the frozen base is held in 4 bits. Read only where `model.tuning` is `qlora`."""

    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4",
        description="4-bit data type; nf4 lost nothing against 16 bits in the QLoRA paper, fp4 lost about a point",
    )
    bnb_4bit_use_double_quant: bool = Field(
        True, description="quantize the quantization constants too: saves about 0.4 bits a parameter"
    )
    bnb_4bit_compute_dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="type that matrix products run in; auto follows model.dtype"
    )
    bnb_4bit_quant_storage: Literal["uint8", "bfloat16", "float16", "float32"] = Field(
        "uint8", description="type that packed weights are stored in; sharding across GPUs wants the compute type"
    )


class Lora(Block):
    """The adapter. Read where `model.tuning` is `lora` or `qlora`."""

    r: Positive = Field(16, description="rank of the adapter matrices; 16 or 32 is enough for most behaviour")
    lora_alpha: Positive = Field(32, description="scale of the adapter: its output is multiplied by lora_alpha / r")
    lora_dropout: Share = Field(0.0, description="dropout on the adapter's input; 0.05 to 0.1 helps on small datasets")
    target_modules: str | list[str] = Field(
        "all-linear", description="layers that get an adapter; all-linear is what the QLoRA paper found necessary"
    )
    modules_to_save: list[str] | None = Field(
        None, description="layers trained and saved whole beside the adapter, such as lm_head after adding tokens"
    )
    use_rslora: bool = Field(False, description="scale by lora_alpha / sqrt(r) instead: steadier at high ranks")
    use_dora: bool = Field(False, description="train direction and magnitude apart: a little better, slower")
    init_lora_weights: Literal["default", "gaussian", "pissa", "olora"] = Field(
        "default", description="how the adapter starts; default starts at exactly the base model"
    )


class Model(Block):
    """The base model and how it is tuned."""

    base: str = Field("pocket", description="pocket, a Hugging Face hub id, a local folder, or run:ID")
    revision: str = Field("main", description="branch, tag or commit on the hub")
    tuning: Literal["qlora", "lora", "full"] = Field(
        "qlora", description="qlora: adapters on a 4-bit base; lora: on a 16-bit base; full: every weight"
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="type of the weights in memory; auto is bfloat16 where the device has it, else float32"
    )
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3"] = Field(
        "auto", description="attention kernel; auto takes flash attention where it is installed, else sdpa"
    )
    quantization: Quantization = Field(default_factory=Quantization, description="the 4-bit base")
    lora: Lora = Field(default_factory=Lora, description="the adapter")


class Data(Block):
    """What the model reads."""

    train: str = Field("pocket", description="file or folder of training rows, or pocket for the embedded world")
    eval: str | None = Field(None, description="held-out rows; none: eval_fraction of the training rows is held out")
    eval_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.02, description="share of the training rows held out when data.eval is not given; 0 holds nothing out"
    )
    format: Literal[
        "auto", "text", "messages", "prompt-completion", "question-answer", "alpaca", "sharegpt", "preference", "unpaired",
        "prompt",
    ] = Field("auto", description="layout of the rows; auto recognises it and says what it saw")  # fmt: skip
    columns: dict[str, str] = Field(
        default_factory=dict, description="map of a field that the format needs to the column that holds it"
    )
    system: str | None = Field(None, description="system message put before rows that carry none")
    chat_template_path: str | None = Field(
        None, description="chat template file or tokenizer to take it from; none: the model's own"
    )
    masking: Literal["auto", "completion_only", "assistant_only", "none"] = Field(
        "auto",
        description="which tokens are trained; auto: the completion or the assistant's turns, for text all",
        **_only(*SUPERVISED),
    )
    untrainable: Literal["auto", "refuse", "drop"] = Field(
        "auto",
        description="rows that nothing can be learned from: auto refuses broken ones (no answer, no prompt, a label that is "
        "none) and drops, with a count, whole ones that teach nothing (equal pairs, prompts that differ) and those that "
        "max_length cuts to nothing; drop drops all, refuse refuses all",
    )
    max_rows: Positive | None = Field(None, description="use this many training rows, drawn by training.data_seed")
    max_eval_rows: Positive | None = Field(256, description="use this many held-out rows; none uses all")


class Training(Block):
    """The knobs of the optimisation, under the names of transformers' TrainingArguments and TRL's configs."""

    num_train_epochs: Annotated[float, Field(gt=0)] = Field(1.0, description="passes over the training rows")
    max_steps: int = Field(-1, ge=-1, description="stop after this many optimizer steps; -1 goes by epochs")
    per_device_train_batch_size: Positive = Field(4, description="rows a device works on at once")
    gradient_accumulation_steps: Positive = Field(4, description="batches added up before one optimizer step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        2e-4, description="peak learning rate; adapters want about ten times that of full tuning"
    )
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="how the learning rate moves after warm-up"
    )
    warmup_steps: Annotated[float, Field(ge=0)] = Field(
        0.03, description="steps over which the learning rate rises; below 1 it is a share of all steps"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW's decay of trained weights")
    max_grad_norm: Annotated[float, Field(ge=0)] = Field(1.0, description="gradients are scaled down to this norm")
    optim: str = Field("adamw_torch", description="optimizer by transformers' name; paged_adamw_8bit saves GPU memory")
    max_length: Positive = Field(
        1024, description="tokens a row may have; longer rows are cut, with a count", **_only(*SUPERVISED, *PREFERENCE)
    )
    gradient_checkpointing: bool = Field(
        True, description="recompute activations in the backward pass: much less memory, about a third more time"
    )
    neftune_noise_alpha: Annotated[float, Field(gt=0)] | None = Field(
        None, description="noise on the embeddings (NEFTune); 5 is the paper's, none is off"
    )
    logging_steps: Positive = Field(1, description="steps between two readings of loss and gradient")
    save_steps: Positive = Field(100, description="steps between two checkpoints that a run can resume from")
    save_total_limit: Positive = Field(2, description="checkpoints kept; older ones are deleted")
    dataloader_num_workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that prepare batches")
    seed: int = Field(42, description="seed of initialisation and dropout")
    data_seed: int = Field(42, description="seed of the row order, of KTO's too, and of the held-out split")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="any other field of the method's own config, by its TRL name"
    )


class Evaluation(Block):
    """What is looked at while the run goes on."""

    eval_steps: Positive = Field(50, description="steps between two evaluations on the held-out rows")
    per_device_eval_batch_size: Positive = Field(4, description="held-out rows a device works on at once")
    eval_on_start: bool = Field(True, description="evaluate the untrained base first, so that the curve has a start")
    samples: Annotated[int, Field(ge=0, le=32)] = Field(
        3, description="held-out prompts answered at every evaluation, always the same ones"
    )
    max_new_tokens: Positive = Field(128, description="length of a sample at most")


class Resources(Block):
    """The share of the box that the run may take."""

    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="where to train; auto takes a GPU where one is")
    gpus: list[str] = Field(
        default_factory=list, description="GPU indexes (PCI order) or UUIDs; empty lets the run see all of them"
    )
    cpu_threads: Positive | None = Field(None, description="threads that torch may use; none leaves it to torch")
    min_free_disk_gib: Annotated[float, Field(ge=0)] = Field(
        1.0, description="room to keep free on the disk of the run: below it the run pauses before saving"
    )


Alarm = Literal[
    "nonfinite", "loss-spike", "overfitting", "grad-norm", "preference-accuracy", "chosen-collapse", "low-reward",
    "no-variance", "kl", "entropy", "clip-ratio", "clipped", "reward-hacking",
]  # fmt: skip


class Health(Block):
    """Which verdicts on the numbers end the run."""

    stop_on: list[Alarm] = Field(
        ["nonfinite"], description="verdicts that save and end the run; all of them are shown in any case"
    )
    patience: Positive = Field(3, description="readings in a row with that verdict before the run ends")


class Recipe(Block):
    """A whole recipe: what to train, on what, how. A method reads the block of its own name and no other's."""

    name: str = Field("", description="name of the recipe")
    summary: str = Field("", description="one line: what it is for")
    notes: str = Field("", description="what a careful reader should know: costs, sources, limits")
    method: Method = Field(
        "sft",
        description="sft: learn from answers; cpt: from plain text; dpo, kto: from preferences; reward: a model that scores; "
        "rloo, ppo, grpo: from rewards",
    )
    model: Model = Field(default_factory=Model, description="the base model and how it is tuned")
    data: Data = Field(default_factory=Data, description="what the model reads")
    training: Training = Field(default_factory=Training, description="the optimisation")
    sft: methods.Sft = Field(default_factory=methods.Sft, description="SFT's own settings", **_only(*SUPERVISED))
    dpo: methods.Dpo = Field(default_factory=methods.Dpo, description="DPO's own settings", **_only("dpo"))
    kto: methods.Kto = Field(default_factory=methods.Kto, description="KTO's own settings", **_only("kto"))
    reward: methods.Reward = Field(
        default_factory=methods.Reward, description="the reward model's own settings", **_only("reward")
    )
    rloo: methods.Rloo = Field(default_factory=methods.Rloo, description="RLOO's own settings", **_only("rloo"))
    grpo: methods.Grpo = Field(default_factory=methods.Grpo, description="GRPO's own settings", **_only("grpo"))
    ppo: methods.Ppo = Field(default_factory=methods.Ppo, description="PPO's own settings", **_only("ppo"))
    rewards: dict[str, Reward] = Field(
        default_factory=dict, description="what completions are scored by, each under a name", **_only(*ROLLOUT)
    )
    evaluation: Evaluation = Field(default_factory=Evaluation, description="what is looked at on the way")
    health: Health = Field(default_factory=Health, description="which verdicts end the run")
    resources: Resources = Field(default_factory=Resources, description="the share of the box it may take")

    @model_validator(mode="after")
    def _reads_what_is_set(self) -> Recipe:
        """A value that the method would not read is refused: it would look as if it counted."""
        for key in _set_in_vain(self, self.method, ""):
            raise ValueError(f"`{key}` is not read by {self.method}: leave it out")
        return self


def is_read(field: FieldInfo, method: Method) -> bool:
    """Whether `method` reads a field of the schema."""
    extra = field.json_schema_extra
    return not isinstance(extra, dict) or method in cast(list[str], extra.get("methods", [method]))


def _set_in_vain(block: Block, method: Method, prefix: str) -> Iterator[str]:
    for name in block.model_fields_set:
        field, value = type(block).model_fields[name], getattr(block, name)
        if not is_read(field, method) and value != field.get_default(call_default_factory=True):
            yield f"{prefix}{name}"
        elif isinstance(value, Block):
            yield from _set_in_vain(value, method, f"{prefix}{name}.")
