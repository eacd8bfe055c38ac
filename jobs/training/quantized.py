"""QLoRA: the base model in 4 bits while its adapter learns. For workers only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import PackageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_in_4bit(base: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its linear layers in nf4, doubly quantized, that compute in `dtype`."""
    try:
        from bitsandbytes.nn.modules import Linear4bit
    except ImportError as error:
        raise PackageError.from_import_error(error, package="bitsandbytes", extra="train") from None
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model: Any = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        quantization_config=BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
    )
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # On CPUs with AVX512_BF16 a forward without gradients repacks the weights for a kernel whose backward is
            # wrong: every later gradient is off, and the loss still falls.
            layer.support_avx512bf16_for_cpu = False
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-any-return, no-untyped-call]
