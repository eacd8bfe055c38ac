"""A model in fewer bits, as bitsandbytes has it. No calibration is needed, and it loads as any model folder."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlllm.errors import PackageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, to: Path, quantization: str, max_shard_size: str
) -> None:
    """Write the folder `to` with the model's linear layers in `nf4`, `fp4` or `int8`; the others keep their numbers.

    Raises: PackageError without bitsandbytes.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise PackageError.from_import_error(error, package="bitsandbytes", extra="train") from None
    if quantization == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    else:
        config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type=quantization, bnb_4bit_compute_dtype=model.dtype
        )
    # Transformers quantises while it loads, so the whole model is written first.
    with TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as whole:
        model.save_pretrained(whole)
        small = AutoModelForCausalLM.from_pretrained(
            whole, quantization_config=config, dtype=model.dtype, device_map={"": "cpu"}
        )
        small.save_pretrained(to, max_shard_size=max_shard_size)
    tokenizer.save_pretrained(to)
