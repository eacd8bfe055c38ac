"""Hugging Face transformers, on a GPU or on the CPU: a module for each task, `transformers_TASK`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sqlllm.errors import ModelError, PackageError, suggest

from ....conversion.spec import HF_QUANTIZATIONS, SPELLINGS
from ...spec import ModelSpec
from . import Model, check_folder, parse_options
from .folders import task

if TYPE_CHECKING:
    pass

_GIB = 2**30
_BITS = {**SPELLINGS, "int4": "nf4"}


class Options(BaseModel):
    """The engine's options."""

    model_config = ConfigDict(extra="forbid")

    dtype: str = Field(
        "auto", pattern="^(auto|float32|float16|bfloat16)$", description="of the weights; auto: as saved"
    )
    max_model_len: int | None = Field(None, ge=2, description="tokens of prompt and answer; default: the model's own")
    max_batch_size: int = Field(32, ge=1, description="prompts that go through the model together")
    kv_cache_memory_bytes: int = Field(_GIB, ge=2**20, description="memory that a batch's KV cache may take")
    attn_implementation: str | None = Field(None, description="attention of transformers: eager, sdpa, ...")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")
    quantization: str = Field("", description="fewer bits for the linear layers, as it loads: 4 (nf4), fp4 or 8 (int8)")
    pooling: str | None = Field(
        None, pattern="^(mean|cls|max|last)$", description="of an embedding model; default: as its folder says, or mean"
    )
    normalize: bool | None = Field(None, description="vectors of length 1; default: as the folder says, or true")
    allowed_media_domains: list[str] = Field([], description="hosts that images may be fetched from; *: any")
    max_audio_seconds: float = Field(3600, gt=0, description="of the longest sound that is written down")

    @field_validator("quantization")
    @classmethod
    def _bits(cls, text: str) -> str:
        """The format's name, of Byzer-LLM's spellings too."""
        name = _BITS.get(text.lower(), text.lower())
        if name not in ("", *HF_QUANTIZATIONS):
            raise ValueError(
                f"{text!r} is unknown. {suggest(text, (*HF_QUANTIZATIONS, '4', '8'), what='quantizations')} "
                "A folder that is AWQ or GPTQ already loads without this option"
            )
        return name


class Transformers:
    """The engine `transformers`."""

    name: ClassVar[str] = "transformers"
    generates: ClassVar[bool] = True

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """The fields of `Options`."""
        return parse_options(Options, options, "transformers").model_dump()

    @staticmethod
    def check(spec: ModelSpec, options: Mapping[str, Any]) -> None:  # noqa: ARG004
        """A model folder."""
        check_folder(spec)

    @staticmethod
    def resources(spec: ModelSpec, options: Mapping[str, Any], gpus: float) -> dict[str, Any]:  # noqa: ARG004
        """One process."""
        return {"ray_actor_options": {"num_cpus": spec.cpus_per_worker, "num_gpus": gpus}}

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> Model:
        """Load weights and tokenizer in a thread."""
        try:
            import torch  # noqa: F401
            import transformers  # noqa: F401
        except ImportError as error:
            raise PackageError.from_import_error(error, package="transformers", extra="ray") from error
        set_threads()
        typed, loader = Options(**options), _loader(spec)
        if typed.quantization and task(Path(spec.model_path)) != "chat":
            raise ModelError("quantization is for models that write text", cure="Leave quantization out.")
        return await asyncio.to_thread(loader, spec, typed, "cuda" if gpus else "cpu")


def set_threads() -> None:
    """As many as the server gave to this worker."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _loader(spec: ModelSpec) -> Callable[[ModelSpec, Options, str], Model]:
    """What loads the model in this folder, by its task."""
    kind = task(Path(spec.model_path))
    module = import_module(f".transformers_{'rank' if kind == 'rerank' else kind}", __package__)
    load: Callable[[ModelSpec, Options, str], Model] = module.load
    return load
