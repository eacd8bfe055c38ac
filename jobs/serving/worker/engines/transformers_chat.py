"""Models that write text: any causal language model of transformers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from sqlllm.errors import ModelError

from ...protocol import (
    CONTEXT_LENGTH_EXCEEDED,
    SSE_DONE,
    RequestError,
    batch_response,
    check_messages,
    conversations,
    failed_choice,
    new_id,
    response,
    sse,
    usage,
)
from ...spec import ModelSpec
from .requests import Request, parse_request
from .tokens import TokenizerTokens

if TYPE_CHECKING:
    from .generation import Answer, Batcher
    from .sampling import Sampling
    from .transformers import Options


class TransformersModel:
    """A loaded model behind OpenAI's routes."""

    def __init__(
        self, name: str, tokenizer: Any, batcher: Batcher, vocabulary: int, context: int, defaults: dict[str, Any]
    ) -> None:
        self._name = name
        self._tokenizer = tokenizer
        self._batcher = batcher
        self._vocabulary = vocabulary
        self._context = context
        self._defaults = defaults  # of the model's author: temperature, top_p ...

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation."""
        typed = parse_request(request, Request)
        (answer,) = await self._answer([await self._chat_answer(typed, typed.messages)])
        counts = usage(len(answer.prompt), answer.tokens)
        choices = [{"index": 0, **_chat_choice(answer)}]
        return orjson.dumps(response("chat.completion", new_id("chatcmpl"), self._name, choices, usage=counts))

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer all conversations: one choice each, a bad one as a choice with `error`."""
        from .generation import Answer

        batch = conversations(request)
        typed = parse_request(request, Request)
        results: list[Answer | RequestError] = []
        for messages in batch:
            try:
                results.append(await self._chat_answer(typed, messages))
            except RequestError as error:
                results.append(error)
        answered = iter(await self._answered([result for result in results if isinstance(result, Answer)]))
        results = [next(answered) if isinstance(result, Answer) else result for result in results]
        choices = [
            failed_choice(index, result)
            if isinstance(result, RequestError)
            else {"index": index, **_chat_choice(result), "usage": usage(len(result.prompt), result.tokens)}
            for index, result in enumerate(results)
        ]
        return batch_response(self._name, choices)

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Continue one prompt or several."""
        typed = parse_request(request, Request)
        answers = await self._answer([self._plain_answer(typed, tokens) for tokens in self._prompts(typed)])
        choices = [
            {"index": index, "text": "".join(answer.texts), "finish_reason": answer.finish_reason, "logprobs": None}
            for index, answer in enumerate(answers)
        ]
        counts = usage(sum(len(answer.prompt) for answer in answers), sum(answer.tokens for answer in answers))
        return orjson.dumps(response("text_completion", new_id("cmpl"), self._name, choices, usage=counts))

    async def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """Server-sent events, one per piece of text."""
        typed = parse_request(request, Request)
        if route == "chat":
            answer = await self._chat_answer(typed, typed.messages)
            kind, id = "chat.completion.chunk", new_id("chatcmpl")  # noqa: A001
        else:
            prompts = self._prompts(typed)
            if len(prompts) != 1:
                raise RequestError("a stream answers one prompt; send the prompts one by one", param="prompt")
            answer, kind, id = self._plain_answer(typed, prompts[0]), "text_completion", new_id("cmpl")  # noqa: A001

        def event(piece: dict[str, Any], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, **({"delta": piece} if route == "chat" else {"text": piece.get("content", "")})}
            return sse(response(kind, id, self._name, [{**choice, "finish_reason": finish_reason}]))

        if route == "chat":
            yield event({"role": "assistant", "content": ""})
        answer.streams = True
        self._batcher.submit(answer)
        try:
            async for text in answer:
                yield event({"content": text})
        finally:
            answer.cancelled = True  # the client may have gone
        yield event({}, answer.finish_reason)
        if (typed.stream_options or {}).get("include_usage"):
            yield sse(response(kind, id, self._name, [], usage=usage(len(answer.prompt), answer.tokens)))
        yield SSE_DONE

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, chat template included."""
        tokens = TokenizerTokens(self._tokenizer)
        return await asyncio.to_thread(lambda: [tokens.count_chat(messages) for messages in batch])

    async def check_health(self) -> None:
        """Raise if the generating thread has died."""
        if not self._batcher.is_alive:
            raise RuntimeError("the generating thread has died")

    async def _answer(self, answers: list[Answer]) -> list[Answer]:
        """Have answers generated and wait for all of them; RequestError if one fails."""
        found: list[Answer] = []
        for result in await self._answered(answers):
            if isinstance(result, RequestError):
                raise result
            found.append(result)
        return found

    async def _answered(self, answers: list[Answer]) -> list[Answer | RequestError]:
        """The same; one that fails is its reason."""
        results: list[Answer | RequestError] = []
        self._batcher.submit(*answers)
        try:
            for answer in answers:
                try:
                    answer.texts = [text async for text in answer]
                except RequestError as error:
                    results.append(error)
                else:
                    results.append(answer)
        finally:
            for answer in answers:
                answer.cancelled = True
        return results

    async def _chat_answer(self, request: Request, messages: object) -> Answer:
        checked = check_messages(messages)
        if self._tokenizer.chat_template is None:
            raise RequestError("the model's tokenizer has no chat template; use /v1/completions")
        from jinja2 import TemplateError

        try:
            tokens = self._tokenizer.apply_chat_template(
                checked, add_generation_prompt=True, return_dict=False, **(request.chat_template_kwargs or {})
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RequestError(f"the chat template refuses the messages: {error}", param="messages") from None
        return self._plain_answer(request, tokens)

    def _prompts(self, request: Request) -> list[list[int]]:
        prompt = request.prompt
        if prompt is None or prompt == []:
            raise RequestError("prompt is missing", param="prompt")
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            prompt = [prompt]  # type: ignore[assignment]
        prompts: list[Any] = [self._tokenizer(p)["input_ids"] if isinstance(p, str) else p for p in prompt]
        for token in (token for tokens in prompts for token in tokens):
            if not 0 <= token < self._vocabulary:
                known = f"the model's vocabulary is 0 to {self._vocabulary - 1}"
                raise RequestError(f"prompt has the token {token}; {known}", param="prompt")
        return prompts

    def _plain_answer(self, request: Request, prompt: list[int], inputs: dict[str, Any] | None = None) -> Answer:
        from .generation import Answer

        asked = request.max_completion_tokens or request.max_tokens
        room = self._context - len(prompt)
        if room < (asked or 1) or not prompt:
            raise RequestError(
                f"the model's context is {self._context} tokens; the prompt has {len(prompt)}"
                + (f" and max_tokens asks for {asked} more" if asked else " and leaves no room for an answer"),
                param="max_tokens" if asked and room > 0 else "messages",
                code=CONTEXT_LENGTH_EXCEEDED,
            )
        limit = asked or min(room, self._defaults.get("max_new_tokens") or room)
        return Answer(prompt, limit, self._sampling(request), request.stops, inputs)

    def _sampling(self, request: Request) -> Sampling:
        from .sampling import Sampling

        names = [name for name in Sampling.__dataclass_fields__ if name != "top_k"]
        asked = {name: value for name in names if (value := getattr(request, name)) is not None}
        defaults = {name: value for name in names if (value := self._defaults.get(name)) is not None}
        top_k = request.top_k if request.top_k is not None else self._defaults.get("top_k") or 0
        return Sampling(**defaults | asked, top_k=max(0, top_k))


def _chat_choice(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(answer.texts)}
    return {"message": message, "finish_reason": answer.finish_reason}


def load(
    spec: ModelSpec, options: Options, device: str, wrap: Callable[[Any], Any] = lambda model: model
) -> TransformersModel:
    """Read a model folder, or an adapter's folder and its base model's. `wrap` has the last word on the model."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(spec.model_path)
    adapter = folder if not (folder / "config.json").is_file() else None
    if adapter is not None:
        folder = Path(orjson.loads((adapter / "adapter_config.json").read_bytes())["base_model_name_or_path"])
        if not folder.is_dir():
            raise ModelError(f"the adapter's base model {folder} is not a folder here")
    arguments = {"trust_remote_code": options.trust_remote_code, "local_files_only": True}
    bits = _fewer_bits(folder, adapter, options, device)
    try:
        own = adapter is not None and (adapter / "tokenizer_config.json").is_file()
        tokenizer = AutoTokenizer.from_pretrained(adapter if own else folder, **arguments)
        model: Any
        loading: Any
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=options.dtype,
            attn_implementation=options.attn_implementation,
            output_loading_info=True,
            **bits,
            **arguments,
        )  # type: ignore[misc]
        if loading["missing_keys"]:  # transformers would go on with random weights
            missing = sorted(loading["missing_keys"])
            raise ModelError(f"{folder} lacks the weights {missing[0]} and {len(missing) - 1} more")
        if adapter is not None:
            from ....conversion import adapters

            model = adapters.merged(model, adapter)
        model = wrap((model if bits else model.to(device)).eval())
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, MemoryError, SafetensorError) as error:
        words = " ".join(str(error).strip().partition("\n\n")[0].split())
        raise ModelError(f"{type(error).__name__}: {words}") from error
    return ready(TransformersModel, spec, options, model, tokenizer)


M = TypeVar("M", bound=TransformersModel)


def ready(kind: type[M], spec: ModelSpec, options: Options, model: Any, tokenizer: Any) -> M:
    """A loaded model that generates, of this kind."""
    from transformers import GenerationConfig

    from .generation import Batcher

    defaults = model.generation_config.to_diff_dict()
    # What is left in it would be applied a second time by `generate`.
    model.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)  # type: ignore[no-untyped-call]
    config = model.config.get_text_config()
    context = options.max_model_len or config.max_position_embeddings
    vocabulary = getattr(config, "vocab_size", None) or len(tokenizer)
    batcher = Batcher(
        model, tokenizer, max_batch_size=options.max_batch_size, kv_cache_memory_bytes=options.kv_cache_memory_bytes
    )
    return kind(spec.name, tokenizer, batcher, vocabulary, context, defaults)


def _fewer_bits(folder: Path, adapter: Path | None, options: Options, device: str) -> dict[str, Any]:
    """How `from_pretrained` is to load fewer bits than are saved, or a folder that has few already; else nothing."""
    saved = orjson.loads((folder / "config.json").read_bytes())
    place = {"device_map": {"": device}}  # such a model cannot be moved afterwards
    if already := (saved.get("quantization_config") or {}).get("quant_method"):
        if options.quantization:
            raise ModelError(
                f"the weights in {folder} are quantised already: {already}", cure="Leave quantization out."
            )
        return place
    if not options.quantization:
        return {}
    if adapter is not None:
        raise ModelError(
            f"{adapter} is an adapter, which cannot be merged into fewer bits without a loss",
            cure='Merge it first (action="merge"), then deploy the result with quantization.',
        )
    import torch

    from ....conversion import bits

    told = saved.get("dtype") or saved.get("torch_dtype") or "float32"
    dtype = getattr(torch, told if options.dtype == "auto" else options.dtype)
    return {**place, "quantization_config": bits.config(options.quantization, dtype)}
