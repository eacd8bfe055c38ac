"""DeepSpeed inference: models of the engine `transformers`, handed to `deepspeed.init_inference`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from sqlllm.errors import ModelError, OptionError, PackageError

from ...spec import ModelSpec
from . import Model, parse_options, transformers, transformers_chat
from .folders import TASKS, task


class Options(transformers.Options):
    """The engine's options: those of `transformers`, and of DeepSpeed's inference configuration."""

    replace_with_kernel_inject: bool = Field(False, description="DeepSpeed's own kernels, on a GPU")
    enable_cuda_graph: bool = Field(False, description="record each step's kernels once, on a GPU")


class DeepSpeed(transformers.Transformers):
    """The engine `deepspeed`."""

    name: ClassVar[str] = "deepspeed"
    packages: ClassVar[tuple[str, ...]] = ("deepspeed", "transformers")

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """The fields of `Options`."""
        found = parse_options(Options, options, "deepspeed")
        if found.quantization:
            raise OptionError(
                "backend.quantization is not an option of DeepSpeed",
                cure='Use inferBackend="transformers", or vLLM with a quantised folder.',
                key="backend.quantization",
            )
        return found.model_dump()

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> Model:
        """Load weights and tokenizer as transformers does, then give the model to DeepSpeed."""
        typed = Options(**options)
        if gpus > 1:
            raise ModelError(
                "the engine deepspeed has a model on one GPU; it does not cut one into the parts of several",
                cure='Set num_gpus="1", or use inferBackend="ray/vllm", whose tensor parallel size follows num_gpus.',
            )
        if not gpus and (typed.replace_with_kernel_inject or typed.enable_cuda_graph):
            raise ModelError("DeepSpeed's kernels and CUDA graphs need a GPU", cure="Leave them out on a CPU.")
        if (kind := task(Path(spec.model_path))) != "chat":
            raise ModelError(
                f"the model in {spec.model_path} {TASKS[kind]}; the engine deepspeed is for models that write text",
                cure='Use inferBackend="transformers".',
            )
        try:
            import deepspeed  # noqa: F401
        except ImportError as error:
            raise PackageError.from_import_error(error, package="deepspeed", extra="train") from error
        transformers.set_threads()
        return await asyncio.to_thread(
            transformers_chat.load, spec, typed, "cuda" if gpus else "cpu", lambda model: _Inference(model, typed)
        )


class _Inference:
    """A model in DeepSpeed's engine, which generates in its place."""

    def __init__(self, model: Any, options: Options) -> None:
        import deepspeed

        engine = deepspeed.init_inference(
            model,
            dtype=model.dtype,
            replace_with_kernel_inject=options.replace_with_kernel_inject,
            enable_cuda_graph=options.enable_cuda_graph,
            max_out_tokens=options.max_model_len or model.config.get_text_config().max_position_embeddings,
        )
        self._module = engine.module
        self.generate = engine.generate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
