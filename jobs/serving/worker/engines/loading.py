"""Weights from a model's folder, with the library's own reason where they do not load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    from .transformers import Options


@contextmanager
def reasons() -> Iterator[None]:
    """What a library raises for a folder that it cannot load, as a ModelError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, MemoryError, SafetensorError) as error:
        words = " ".join(str(error).strip().partition("\n\n")[0].split())
        raise ModelError(f"{type(error).__name__}: {words}") from error


def arguments(options: Options) -> dict[str, Any]:
    """What every `from_pretrained` is given: nothing is fetched."""
    return {"trust_remote_code": options.trust_remote_code, "local_files_only": True}


def weights(kind: Any, folder: Path, options: Options, device: str, unused: str = "") -> Any:
    """The model in `folder`, read by the transformers class `kind`, ready to answer.

    Raises: ModelError if it does not load, or lacks weights other than those whose names contain `unused`.
    """
    with reasons():
        model, loading = kind.from_pretrained(
            folder,
            dtype=options.dtype,
            attn_implementation=options.attn_implementation,
            output_loading_info=True,
            **arguments(options),
        )
        missing = sorted(key for key in loading["missing_keys"] if not unused or unused not in key)
        if missing:  # transformers would go on with random weights
            raise ModelError(f"{folder} lacks the weights {missing[0]} and {len(missing) - 1} more")
        return model.to(device).eval()
