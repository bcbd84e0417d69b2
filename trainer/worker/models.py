"""The base model and its tokenizer, loaded as the recipe says: hub id, local folder, or the pocket model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.schema import Model, Recipe, Resources
from trainer.errors import ModelError
from trainer.planning.bases import check_folder

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Device:
    """Where the run trains, and the types that go with it."""

    kind: str  # "cuda" or "cpu"
    name: str
    bf16: bool

    def dtype(self, wanted: str) -> torch.dtype:
        """The torch type of a recipe's `auto`, `bfloat16`, …: auto is bfloat16 where the device has it."""
        import torch

        name = ("bfloat16" if self.bf16 else "float32") if wanted == "auto" else wanted
        return getattr(torch, name)  # type: ignore[no-any-return]


def pick_device(resources: Resources) -> Device:
    """The device of the recipe. Raises ModelError where a GPU is asked for and torch sees none."""
    import torch

    if resources.device != "cpu" and torch.cuda.is_available():
        return Device("cuda", torch.cuda.get_device_name(0), torch.cuda.is_bf16_supported())
    if resources.device == "cuda":
        raise ModelError("torch sees no CUDA device", "`burnish doctor` says why; resources.device=cpu trains anyway")
    return Device("cpu", "CPU", False)


def build_quantization_config(model: Model, device: Device) -> BitsAndBytesConfig | None:
    """The 4-bit configuration of a qlora recipe, None for the others."""
    if model.tuning != "qlora":
        return None
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "qlora needs bitsandbytes, which is not installed",
            "pip install 'burnish[quant]', or set model.tuning=lora",
        ) from error
    import torch
    from transformers import BitsAndBytesConfig

    quantization = model.quantization
    compute = quantization.bnb_4bit_compute_dtype
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=quantization.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=device.dtype(model.dtype if compute == "auto" else compute),
        bnb_4bit_quant_storage=getattr(torch, quantization.bnb_4bit_quant_storage),
    )


def attention(model: Model, device: Device) -> str:
    """The attention kernel: `auto` is flash attention where it is installed on a GPU, else sdpa."""
    from transformers.utils import is_flash_attn_2_available

    if model.attn_implementation != "auto":
        return model.attn_implementation
    return "flash_attention_2" if device.kind == "cuda" and is_flash_attn_2_available() else "sdpa"


def load_arguments(recipe: Recipe, device: Device) -> dict[str, Any]:
    """What `from_pretrained` of a language model is called with."""
    arguments: dict[str, Any] = {
        "revision": recipe.model.revision,
        "dtype": device.dtype(recipe.model.dtype),
        "attn_implementation": attention(recipe.model, device),
        "use_safetensors": True,  # pickle weights can run code
        "trust_remote_code": False,
    }
    if quantization := build_quantization_config(recipe.model, device):
        arguments["quantization_config"] = quantization
    if device.kind == "cuda":
        arguments["device_map"] = {"": 0}
    return arguments


def load(
    recipe: Recipe, base: str, device: Device, *, scores: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of `base`, a hub id or a folder; with `scores` a model with one score instead of words.

    Raises ModelError for what cannot be loaded safely.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if Path(base).is_dir():
        check_folder(Path(base))
    arguments = load_arguments(recipe, device)
    if scores:
        arguments["num_labels"] = 1
        if "quantization_config" in arguments:
            arguments["quantization_config"].llm_int8_skip_modules = ["score"]  # 4 bits would freeze the head
    try:
        tokenizer = tokenizer_of(base, recipe.model.revision)
        kind = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
        model = kind.from_pretrained(base, **arguments)
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the hub
            raise
        raise ModelError(
            f"{base} cannot be loaded: {str(error).strip().splitlines()[0]}",
            "give a hub id that this machine can reach, or a folder with config.json, safetensors and a tokenizer",
        ) from error
    if scores:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id  # where a padded row ends
    _keep_gradients(model)
    return model, tokenizer


def tokenizer_of(base: str, revision: str = "main") -> PreTrainedTokenizerBase:
    """The tokenizer of a hub id or a folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, revision=revision, trust_remote_code=False)


def load_to_train(
    recipe: Recipe, base: str, adapter: Path | None, device: Device
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model and tokenizer as a run of the recipe begins with them: on the base, where the run goes on, its adapter.

    The adapter is trained further, or merged in where every weight is trained. The chat template is the recipe's, else the
    one that the adapter was trained under. Raises ModelError.
    """
    model, tokenizer = load(recipe, base, device, scores=recipe.method == "reward")
    if adapter:
        model, tokenizer = _with_adapter(model, adapter, recipe), tokenizer_of(str(adapter))
    if given := recipe.data.chat_template_path:
        is_file = Path(given).is_file()
        tokenizer.chat_template = Path(given).read_text() if is_file else tokenizer_of(given).chat_template
    return model, tokenizer


def _with_adapter(model: Any, adapter: Path, recipe: Recipe) -> Any:
    if recipe.method == "reward":
        return _with_score_head(model, adapter)
    from peft import PeftModel

    if recipe.model.tuning == "full":
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().requires_grad_(True)
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)


def _with_score_head(model: Any, adapter: Path) -> Any:
    """A scoring model with the adapter of a language model, whose layers have the same names, and a fresh head."""
    from peft import LoraConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict

    config = LoraConfig.from_pretrained(str(adapter))
    config.task_type, config.inference_mode = "SEQ_CLS", False
    tuned = get_peft_model(model, config)
    set_peft_model_state_dict(tuned, load_peft_weights(str(adapter)))
    return tuned


def _keep_gradients(model: PreTrainedModel) -> None:
    """Keep 4-bit layers on the path that has gradients.

    On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks a layer at its first forward in eval mode and from then on uses a
    kernel without a backward: an evaluation before or during training would make every later gradient wrong, silently.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def parameters(model: PreTrainedModel) -> tuple[int, int]:
    """(all parameters, those that are trained); a 4-bit weight counts as what it stands for."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = 0
    for parameter in model.parameters():
        packed = getattr(parameter, "quant_state", None)
        total += packed.shape.numel() if packed is not None else parameter.numel()
    return total, trained
