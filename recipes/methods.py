"""The settings that belong to one method, each block named as the method is; fields have the names of TRL's configs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from recipes.block import Block, Positive, Share

Above = Annotated[float, Field(gt=0)]
AtLeast = Annotated[float, Field(ge=0)]


class Sft(Block):
    """TRL's SFTConfig."""

    packing: bool = Field(
        False, description="join short rows up to max_length; only where the attention keeps documents apart"
    )
    loss_type: Literal["auto", "nll", "chunked_nll", "dft"] = Field(
        "auto", description="TRL's SFT loss; auto is TRL's own choice, chunked_nll where it can"
    )


DpoLoss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]  # fmt: skip


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Reference(Block):
    """The reference model of DPO and KTO: under LoRA and QLoRA the base with the adapter switched off, no second copy."""

    beta: Above = Field(0.1, description="how strongly the policy is held to the reference; higher stays nearer")
    precompute_ref_log_probs: bool = Field(
        False, description="compute the reference's log-probabilities once, before training: faster over several epochs"
    )
    sync_ref_model: bool = Field(False, description="move the reference after the policy (TR-DPO); full tuning only")


class Dpo(Reference):
    """TRL's DPOConfig."""

    loss_type: Annotated[list[DpoLoss], BeforeValidator(_listed)] = Field(
        ["sigmoid"], description="one loss or several summed by loss_weights; [sigmoid, sft] is what rpo_alpha was"
    )
    loss_weights: list[float] | None = Field(None, description="weight of each loss; none weighs each 1")
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="share of labels taken to be wrong: for robust and exo_pair, and for sigmoid (cDPO)"
    )
    f_divergence_type: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] = Field(
        "reverse_kl", description="divergence from the reference that is held small"
    )
    ld_alpha: Share | None = Field(None, description="weight of what exceeds the shorter answer (LD-DPO); none is off")
    use_weighting: bool = Field(False, description="weigh pairs by the policy's own likelihood of them (WPO)")


class Kto(Reference):
    """TRL's KTOConfig."""

    loss_type: Literal["kto", "apo_zero_unpaired"] = Field(
        "kto", description="the KTO loss, or APO's for unpaired rows"
    )
    desirable_weight: Above = Field(1.0, description="weight of thumbs up")
    undesirable_weight: Above = Field(
        1.0, description="weight of thumbs down; weights times counts of the two should lie within 1:1 to 4:3"
    )


class Reward(Block):
    """TRL's RewardConfig."""

    center_rewards_coefficient: AtLeast | None = Field(
        None, description="keeps the mean reward near zero; 0.01 is usual, none is off"
    )


class Rollout(Block):
    """What RLOO, GRPO and PPO share: how completions are drawn. TRL generates by transformers, or by vLLM."""

    max_completion_length: Positive = Field(256, description="tokens that a completion may have")
    temperature: Above = Field(1.0, description="of sampling; below 1 a group differs less and teaches less")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="nucleus that is sampled from; 1 is all")
    top_k: Annotated[int, Field(ge=0)] = Field(0, description="most likely tokens that are sampled from; 0 is all")
    repetition_penalty: Above = Field(1.0, description="above 1 punishes repeated tokens when sampling")
    num_generations: Annotated[int, Field(ge=2)] = Field(
        8, description="completions of one prompt, the group that is compared; has to divide the batch"
    )
    num_iterations: Positive = Field(1, description="times a batch of completions is learned from")
    use_vllm: bool = Field(False, description="generate with vLLM, where it is installed")
    vllm_mode: Literal["colocate", "server"] = Field(
        "colocate", description="vLLM in the trainer's process, or a server that `trl vllm-serve` runs"
    )
    vllm_gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, description="share of the GPU that a colocated vLLM takes"
    )
    vllm_server_base_url: str | None = Field(None, description="address of the vLLM server, http://127.0.0.1:8000")
    mask_truncated_completions: bool = Field(
        False, description="do not learn from completions that were cut at max_completion_length (DAPO)"
    )


class Rloo(Rollout):
    """TRL's RLOOConfig."""

    beta: AtLeast = Field(0.05, description="weight of the KL divergence from the reference in the reward")
    epsilon: Above = Field(0.2, description="clip range of the probability ratio")
    normalize_advantages: bool = Field(False, description="scale advantages to deviation 1 over the batch")
    reward_clip_range: list[float] | None = Field(None, description="[low, high] that rewards are clipped to")


class Grpo(Rollout):
    """TRL's GRPOConfig."""

    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = Field(
        "dapo", description="how token losses are added up; dapo and dr_grpo have no bias towards length"
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="divide advantages by the deviation of the group, of the batch, or not (Dr. GRPO)"
    )
    importance_sampling_level: Literal["token", "sequence"] = Field(
        "token", description="ratio of each token, or of the whole completion (GSPO)"
    )
    beta: AtLeast = Field(0.0, description="weight of the KL divergence from the reference; 0 loads no reference")
    epsilon: Above = Field(0.2, description="clip range of the probability ratio, lower side")
    epsilon_high: Above | None = Field(None, description="upper side of the clip range; DAPO takes 0.28; none: epsilon")
    delta: Above | None = Field(
        None, description="upper clip of the ratio where the advantage is negative; none is off"
    )
    top_entropy_quantile: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="learn only from this share of tokens, those of highest entropy"
    )
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = Field(
        "sum_then_normalize", description="add rewards and scale the sum, or scale each and add (GDPO)"
    )


class Ppo(Rollout):
    """PPO with a value model, under the names of TRL's former PPOConfig. TRL 1.16 has no PPO: the trainer is ours."""

    kl_coef: AtLeast = Field(0.05, description="weight of the KL divergence from the reference, taken off the reward")
    kl_estimator: Literal["k1", "k3"] = Field("k1", description="k1 is unbiased, k3 has less variance")
    cliprange: Above = Field(0.2, description="clip range of the probability ratio")
    cliprange_value: Above = Field(0.2, description="clip range of the value's change")
    vf_coef: AtLeast = Field(0.1, description="weight of the value loss")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="discount of a token later")
    lam: Share = Field(0.95, description="lambda of generalised advantage estimation")
    whiten_rewards: bool = Field(False, description="scale the rewards of a batch to deviation 1")
    missing_eos_penalty: Above | None = Field(None, description="taken off a completion that does not end; none is off")
    value_base: str | None = Field(
        None,
        description="where the value model starts: run:ID of a reward-model run or a folder; none: the policy's base",
    )
