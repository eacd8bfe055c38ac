"""A model in fewer bits, as bitsandbytes has it. No calibration is needed, and it loads as any model folder."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlllm.errors import PackageError

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase


def config(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """How transformers is to load a model with its linear layers in `nf4`, `fp4` or `int8`; it computes in `dtype`.

    Raises: PackageError without bitsandbytes.
    """
    from transformers import BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise PackageError.from_import_error(error, package="bitsandbytes", extra="train") from None
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type=quantization, bnb_4bit_compute_dtype=dtype
    )


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, to: Path, quantization: str, max_shard_size: str
) -> None:
    """Write the folder `to` with the model's linear layers in `nf4`, `fp4` or `int8`; the others keep their numbers.

    Raises: PackageError without bitsandbytes.
    """
    from transformers import AutoModelForCausalLM

    # Transformers quantises while it loads, so the whole model is written first.
    with TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as whole:
        model.save_pretrained(whole)
        small = AutoModelForCausalLM.from_pretrained(
            whole, quantization_config=config(quantization, model.dtype), dtype=model.dtype, device_map={"": "cpu"}
        )
        small.save_pretrained(to, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(to)
