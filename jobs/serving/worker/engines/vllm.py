"""vLLM, through `ray.serve.llm.LLMServer`, on GPUs and on the CPU."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqlllm.errors import ModelError, OptionError, PackageError, suggest

from ...protocol import (
    CONTEXT_LENGTH_EXCEEDED,
    UNSUPPORTED,
    RequestError,
    batch_response,
    check_fields,
    check_input,
    check_messages,
    conversations,
    failed_choice,
    new_id,
    usage,
)
from ...spec import ModelSpec
from . import check_folder, parse_value, vllm_adapters, vllm_tools
from .ranking import RerankRequest, ranking
from .requests import parse_fields
from .tokens import TokenizerTokens
from .vllm_arguments import arguments, cpu_defaults, media, quantizations, tool_parsers
from .vllm_reasons import reason

if TYPE_CHECKING:
    from pydantic import BaseModel

_COUNTED = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "generation_tokens",
    "prefix_tokens": "prefix_cache_queries",
    "prefix_tokens_cached": "prefix_cache_hits",
}
_TOO_LONG = re.compile(r"maximum (context|model) length|context length|max_model_len", re.IGNORECASE)
# What answers which of vLLM's tasks.
_ROUTES = {
    "generate": ("chat", "chat_batch", "completions"),
    "embed": ("embeddings", "score", "rerank"),  # scores of vectors: their cosine
    "classify": ("score", "rerank"),
}


class VLLM:
    """The engine `vllm`."""

    name: ClassVar[str] = "vllm"
    generates: ClassVar[bool] = True

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """Arguments of vLLM's `AsyncEngineArgs`, as the installed version spells them, and two of its server's."""
        known = arguments()
        values: dict[str, Any] = {}
        for key, text in options.items():
            if key == vllm_adapters.OPTION:
                values[key] = vllm_adapters.parse(text)
                continue
            if key == vllm_tools.OPTION:
                values[key] = _tool_parser(text)
                continue
            if key not in known:
                cure = suggest(key, sorted([*known, vllm_adapters.OPTION, vllm_tools.OPTION]), what="options of vLLM")
                raise OptionError(f"unknown option backend.{key}", key=f"backend.{key}", cure=cure)
            values[key] = parse_value(text, known[key])
        if (method := options.get("quantization", "").lower()) and method not in ("none", "false"):
            if method not in (methods := quantizations()):  # 4 and 8 are bitsandbytes'
                cure = suggest(method, methods, what="methods of vLLM")
                cure += ' Fewer bits as a model loads: quantization="4" or "8" with inferBackend="transformers".'
                raise OptionError(f"backend.quantization: {method} is unknown", key="backend.quantization", cure=cure)
            values["quantization"] = method  # AWQ and GPTQ, as scripts write them
        else:
            values.pop("quantization", None)
        return values

    @staticmethod
    def check(spec: ModelSpec, options: Mapping[str, Any]) -> None:
        """A model folder, and those of its adapters."""
        check_folder(spec)
        vllm_adapters.check(options.get(vllm_adapters.OPTION, {}))

    @staticmethod
    def resources(spec: ModelSpec, options: Mapping[str, Any], gpus: float) -> dict[str, Any]:
        """One bundle per process of the engine; the server itself, in the first one, needs no GPU."""
        bundles: list[dict[str, float]] = [{"CPU": spec.cpus_per_worker}]
        if gpus:
            bundles[0]["GPU"] = min(gpus, 1)
            processes = options.get("tensor_parallel_size", int(gpus)) * options.get("pipeline_parallel_size", 1)
            bundles += [{"GPU": 1.0}] * (processes - 1)
        return {"ray_actor_options": {"num_cpus": spec.cpus_per_worker}, "placement_group_bundles": bundles}

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> VLLMModel:
        """Start the engine's processes and load the model."""
        if (Path(spec.model_path) / "adapter_config.json").is_file():
            raise ModelError(
                f"{spec.model_path} is an adapter without its base model",
                cure='Merge it first (action="merge"), or use inferBackend="transformers".',
            )
        if not gpus:
            options = cpu_defaults(spec) | options
        elif gpus >= 1:
            options = {"tensor_parallel_size": int(gpus)} | options
        # Before vLLM is imported: it reads the environment then.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        try:
            from ray.llm._internal.common.callbacks.base import CallbackBase
            from ray.serve.llm import LLMConfig

            from .vllm_server import Engine, Server
        except ImportError as error:
            raise PackageError.from_import_error(error, package="vllm", extra="vllm") from error

        adapters: dict[str, str] = options.get(vllm_adapters.OPTION, {})
        if adapters:
            options = vllm_adapters.arguments(adapters) | options
            del options[vllm_adapters.OPTION]

        options = vllm_tools.arguments(Path(spec.model_path), options)

        class LocalFolder(CallbackBase):
            """The model lies in a folder: spare the task that downloads it (10 s)."""

            async def on_before_node_init(self) -> None:
                self.ctx.run_init_node = False

        config = LLMConfig(
            model_loading_config={"model_id": spec.name, "model_source": spec.model_path},
            engine_kwargs=media(options),
            accelerator_config=None if gpus else {"kind": "cpu"},
            placement_group_config={"bundles": VLLM.resources(spec, options, gpus)["placement_group_bundles"]},
            callback_config={"callback_class": LocalFolder},
            experimental_configs={"stream_batching_interval_ms": 10},
            log_engine_metrics=False,
        )
        server: Any = Server.sync_init(config, engine_cls=Engine)
        try:
            await server.start()
        except (RuntimeError, ValueError, OSError, TypeError, KeyError, AttributeError, TimeoutError) as error:
            raise ModelError(reason(error)) from error
        await vllm_adapters.load(server.engine, adapters)
        tasks = await server.engine._engine_client.get_supported_tasks()
        return VLLMModel(server, spec, tasks, adapters, calls_tools=vllm_tools.OPTION in options)


class VLLMModel:
    """A running vLLM engine."""

    def __init__(
        self, server: Any, spec: ModelSpec, tasks: Collection[str], adapters: Mapping[str, str], *, calls_tools: bool
    ) -> None:
        from ray.llm._internal.serve.core.configs.openai_api_models import EmbeddingCompletionRequest, ScoreRequest
        from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest

        class OpenCompletionRequest(CompletionRequest):
            """A completion to the context's end; of itself vLLM takes no max_tokens for 16."""

            max_tokens: int = 2**31  # vLLM cuts it to what the context leaves ...

            def build_tok_params(self, model_config: Any) -> Any:
                # ... but for this check, which would refuse it.
                return CompletionRequest.build_tok_params(self.model_copy(update={"max_tokens": 0}), model_config)

        self._server, self._calls_tools = server, calls_tools
        self._name, self._adapters = spec.name, adapters
        self._folder = spec.model_path
        self.routes = frozenset(route for task in tasks for route in _ROUTES.get(task, ()))
        self._requests: dict[str, type[BaseModel]] = {
            "chat": ChatCompletionRequest,
            "completions": CompletionRequest,
            "open_completions": OpenCompletionRequest,
            "embeddings": EmbeddingCompletionRequest,
            "score": ScoreRequest,
        }

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation."""
        check_messages(request.get("messages"))
        response = await self._answer("chat", request)
        return bytes(response.model_dump_json(), "utf-8")

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Continue one prompt or several."""
        response = await self._answer("completions", request)
        return bytes(response.model_dump_json(), "utf-8")

    async def embeddings(self, request: dict[str, Any]) -> bytes:
        """A vector for each input."""
        check_input(request.get("input"))
        response = await self._answer("embeddings", request)
        return bytes(response.model_dump_json(), "utf-8")

    async def score(self, request: dict[str, Any]) -> bytes:
        """A score for each pair of texts."""
        response = await self._answer("score", request)
        return bytes(response.model_dump_json(), "utf-8")

    async def rerank(self, request: dict[str, Any]) -> bytes:
        """The documents by their scores; of itself Ray passes on scores alone."""
        typed = parse_fields(request, RerankRequest)
        pairs: dict[str, Any] = {"model": typed.model, "text_1": typed.query, "text_2": typed.documents}
        if typed.truncate_prompt_tokens is not None:
            pairs["truncate_prompt_tokens"] = typed.truncate_prompt_tokens
        response = await self._answer("score", pairs)
        return ranking(self._name, typed, [one.score for one in response.data], response.usage.prompt_tokens)

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer all conversations at once: the engine batches them as its memory allows."""
        batch = conversations(request)
        id = new_id("chatcmpl")  # noqa: A001 (OpenAI's name)
        choices = [self._choice(index, id, request, messages) for index, messages in enumerate(batch)]
        return batch_response(self._name, await asyncio.gather(*choices))

    async def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """Server-sent events as vLLM writes them."""
        if route == "chat":
            check_messages(request.get("messages"))
        async for events in self._run(route, request):
            for event in events:
                if not isinstance(event, str):
                    raise _refusal(event)
            yield "".join(events).encode()

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, chat template included."""

        def count() -> list[int]:
            tokens = TokenizerTokens.load(self._folder)
            return [tokens.count_chat(messages) for messages in batch]

        return await asyncio.to_thread(count)

    def counts(self) -> dict[str, int]:
        """Tokens since it was loaded: of prompts and answers; of prompts, looked for and found in the prefix cache."""
        from prometheus_client import REGISTRY

        told = {sample.name: sample.value for metric in REGISTRY.collect() for sample in metric.samples}
        return {name: int(told.get(f"vllm:{metric}_total", 0)) for name, metric in _COUNTED.items()}

    async def check_health(self) -> None:
        """Raise if the engine's process has died."""
        await self._server.check_health()

    async def _choice(self, index: int, id: str, shared: dict[str, Any], messages: Any) -> dict[str, Any]:  # noqa: A002
        # Its own request id: Serve's is the same for the whole batch, and the engine needs one per conversation.
        try:
            check_messages(messages)
            answer = await self._answer("chat", shared | {"messages": messages, "request_id": f"{id}-{index}"})
        except RequestError as error:
            if error.status >= 500:  # not this conversation's fault
                raise
            return failed_choice(index, error)
        choice = answer.choices[0]
        result = {
            "index": index,
            "message": {"role": "assistant", "content": choice.message.content},
            "finish_reason": choice.finish_reason,
            "usage": usage(answer.usage.prompt_tokens, answer.usage.completion_tokens or 0),
        }
        if choice.message.reasoning:
            result["message"]["reasoning_content"] = choice.message.reasoning
        if choice.message.tool_calls:
            result["message"]["tool_calls"] = [call.model_dump(mode="json") for call in choice.message.tool_calls]
        if isinstance(choice.stop_reason, str):
            result["stop_reason"] = choice.stop_reason
        if choice.logprobs is not None:
            result["logprobs"] = choice.logprobs.model_dump()
        return result

    async def _answer(self, route: str, request: dict[str, Any]) -> Any:
        async for response in self._run(route, request):
            if hasattr(response, "error"):
                raise _refusal(response)
            return response
        raise RequestError("the engine gave no answer", status=500)

    async def _run(self, route: str, request: dict[str, Any]) -> AsyncIterator[Any]:
        from jinja2 import TemplateError
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            async for response in await getattr(self._server, route)(self._typed(route, request)):
                yield response
        except EngineDeadError as error:  # Serve starts another one when it sees that this one is not healthy
            raise RequestError(f"the engine has died: {reason(error)}", status=503) from error
        except (TypeError, OverflowError, NotImplementedError, TemplateError) as error:  # as vLLM's own server has it
            raise RequestError(f"vLLM cannot take the request: {reason(error)}") from error

    def _typed(self, route: str, request: dict[str, Any]) -> BaseModel:
        from pydantic import ValidationError

        is_open = route == "completions" and request.get("max_tokens") is None
        kind = self._requests["open_completions" if is_open else route]
        request = vllm_adapters.chosen(request, self._adapters)
        if request.get("temperature") == 0 and (request.get("n") or 1) != 1:  # vLLM refuses equal answers
            request = {**request, "temperature": 1.0, "top_k": 1}
        check_fields(request, kind.model_fields)
        if request.get("tools") and not self._calls_tools and request.get("tool_choice") != "none":
            raise RequestError(
                "vLLM does not know how this model calls tools; name the form in backend.tool_call_parser",
                param="tools",
                code=UNSUPPORTED,
            )
        try:
            return kind.model_validate(request)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            param = ".".join(str(part) for part in first["loc"][:1])
            raise RequestError(f"{param}: {first['msg']}" if param else first["msg"], param=param or None) from None
        except Exception as error:  # vLLM's validators look at the request alone, and into what may not be there
            field = getattr(error, "parameter", None)
            raise RequestError(f"vLLM cannot take the request: {_words(error)}", param=field) from error


def _tool_parser(text: str) -> str:
    """The name of a parser of vLLM's; empty for none."""
    if text.lower() in vllm_tools.NONE:
        return ""
    if text not in (known := tool_parsers()):
        key = f"backend.{vllm_tools.OPTION}"
        raise OptionError(f"{key}: {text} is unknown", key=key, cure=suggest(text, known, what="parsers of vLLM"))
    return text


def _words(error: Exception) -> str:
    missing = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else ""
    return missing or " ".join(str(error).split()) or type(error).__name__


def _refusal(response: Any) -> RequestError:
    """vLLM's error response as ours."""
    error = response.error
    code = CONTEXT_LENGTH_EXCEEDED if _TOO_LONG.search(error.message) else None
    return RequestError(error.message, status=int(error.code), param=error.param, code=code)
