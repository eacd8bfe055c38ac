"""Models that write text: any causal language model of transformers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from sqlllm.errors import ModelError

from ...protocol import (
    CONTEXT_LENGTH_EXCEEDED,
    SSE_DONE,
    UNSUPPORTED,
    RequestError,
    batch_response,
    check_messages,
    conversations,
    failed_choice,
    new_id,
    response,
    sse,
    text_messages,
    usage,
)
from ...spec import ModelSpec
from . import logprobs
from .grammar import Grammars, Matcher
from .logprobs import Scored
from .requests import FullRequest, Request, parse_request
from .tokens import TokenizerTokens
from .tool_calls import Tools, tools

if TYPE_CHECKING:
    from .generation import Answer, Batcher
    from .sampling import Sampling
    from .transformers import Options

Read = tuple[list[int], dict[str, Any] | None]
"""The tokens of a prompt, and its images."""


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
        self._reading = threading.Lock()  # a fast tokenizer that changes its settings can be in one thread only

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation, as often as `n` says."""
        typed = parse_request(request, FullRequest)
        given = tools(typed.tools, typed.tool_choice)
        answers = await self._answer(
            await self._several(typed, await self._read(typed, [typed.messages], given), given)
        )
        counts = usage(len(answers[0].prompt), sum(answer.tokens for answer in answers))
        choices = [{"index": index, **self._choice(answer, given)} for index, answer in enumerate(answers)]
        return orjson.dumps(response("chat.completion", new_id("chatcmpl"), self._name, choices, usage=counts))

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer all conversations: one choice each, a bad one as a choice with `error`."""
        batch = conversations(request)
        typed = parse_request(request, FullRequest)
        given = tools(typed.tools, typed.tool_choice)
        matcher = await self._matcher(typed, given)
        results: list[Answer | RequestError] = []
        for found in await self._read(typed, batch, given):
            try:
                results.append(self._made(typed, found, matcher))
            except RequestError as error:
                results.append(error)
        answered = iter(await self._answered([result for result in results if not isinstance(result, RequestError)]))
        results = [result if isinstance(result, RequestError) else next(answered) for result in results]
        choices = [
            failed_choice(index, result)
            if isinstance(result, RequestError)
            else {"index": index, **self._choice(result, given), "usage": usage(len(result.prompt), result.tokens)}
            for index, result in enumerate(results)
        ]
        return batch_response(self._name, choices)

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Continue one prompt or several, each as often as `n` says."""
        typed = parse_request(request, FullRequest)
        prompts = await asyncio.to_thread(self._prompts, typed)
        answers = await self._answer(await self._several(typed, [(tokens, None) for tokens in prompts], None))
        choices = [{"index": index, **self._continuation(answer)} for index, answer in enumerate(answers)]
        counts = usage(sum(map(len, prompts)), sum(answer.tokens for answer in answers))
        return orjson.dumps(response("text_completion", new_id("cmpl"), self._name, choices, usage=counts))

    async def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """Server-sent events, one per piece of text; an answer that may call tools is one event, once it is read."""
        typed = parse_request(request, FullRequest)
        if typed.n not in (None, 1):
            raise RequestError("a stream gives one answer; n must be 1", param="n")
        given = tools(typed.tools, typed.tool_choice) if route == "chat" else None
        if route == "chat":
            found = await self._read(typed, [typed.messages], given)
            kind, id = "chat.completion.chunk", new_id("chatcmpl")  # noqa: A001
        else:
            prompts = await asyncio.to_thread(self._prompts, typed)
            if len(prompts) != 1:
                raise RequestError("a stream answers one prompt; send the prompts one by one", param="prompt")
            found, kind, id = [(prompts[0], None)], "text_completion", new_id("cmpl")  # noqa: A001
        (answer,) = await self._several(typed, found, given)
        shown = 0

        def event(piece: dict[str, Any], **end: Any) -> bytes:
            nonlocal shown
            choice = {"index": 0, **({"delta": piece} if route == "chat" else {"text": piece.get("content", "")})}
            scored = answer.scored[shown:]
            shown += len(scored)
            scores = {"logprobs": self._scores(scored, route)} if scored else {}
            return sse(response(kind, id, self._name, [{**choice, **scores, "finish_reason": None, **end}]))

        if route == "chat":
            yield event({"role": "assistant", "content": ""})
        answer.streams = given is None
        self._batcher.submit(answer)
        try:
            async for text in answer:
                answer.texts.append(text)
                if given is None:
                    yield event({"content": text})
        finally:
            answer.cancelled = True  # the client may have gone
        end = self._end(answer)
        if given is not None:
            message, end["finish_reason"] = given.read("".join(answer.texts), answer.finish_reason)
            if calls := message.get("tool_calls"):
                message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
            yield event({name: value for name, value in message.items() if name != "role"})
        yield event({}, **end)
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

    async def _read(self, request: FullRequest, batch: list[Any], given: Tools | None) -> list[Read | RequestError]:
        """What the model takes of each conversation. In a thread: templates and tokenizers take time."""
        if self._tokenizer.chat_template is None:
            raise RequestError("the model's tokenizer has no chat template; use /v1/completions")
        if given is not None and not self._takes_tools:
            raise RequestError("the model's chat template has no place for tools", param="tools", code=UNSUPPORTED)
        options = {**(request.chat_template_kwargs or {}), **({"tools": given.given} if given else {})}

        def read() -> list[Read | RequestError]:
            found: list[Read | RequestError] = []
            for messages in batch:
                try:
                    with self._reading:
                        found.append((self._chat_tokens(text_messages(check_messages(messages)), options), None))
                except RequestError as error:
                    found.append(error)
            return found

        return await asyncio.to_thread(read)

    @property
    def _takes_tools(self) -> bool:
        """Whether the chat template has a place for tools."""
        template = self._tokenizer.chat_template
        return "tools" in (template if isinstance(template, str) else str(template))

    def _chat_tokens(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> list[int]:
        from jinja2 import TemplateError

        try:
            tokens = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=False, **options
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RequestError(f"the chat template refuses the messages: {error}", param="messages") from None
        return list(tokens)

    def _prompts(self, request: Request) -> list[list[int]]:
        prompt = request.prompt
        if prompt is None or prompt == []:
            raise RequestError("prompt is missing", param="prompt")
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            prompt = [prompt]  # type: ignore[assignment]
        with self._reading:
            prompts: list[Any] = [self._tokenizer(p)["input_ids"] if isinstance(p, str) else p for p in prompt]
        for token in (token for tokens in prompts for token in tokens):
            if not 0 <= token < self._vocabulary:
                known = f"the model's vocabulary is 0 to {self._vocabulary - 1}"
                raise RequestError(f"prompt has the token {token}; {known}", param="prompt")
        return prompts

    async def _several(
        self, request: FullRequest, found: Sequence[Read | RequestError], given: Tools | None
    ) -> list[Answer]:
        """As many answers to each prompt as are asked for; RequestError if one cannot be read."""
        matcher = await self._matcher(request, given)
        answers = []
        for one in found:
            if isinstance(one, RequestError):
                raise one
            answers += [self._made(request, one, matcher, number) for number in range(request.n or 1)]
        return answers

    async def _matcher(self, request: FullRequest, given: Tools | None) -> Callable[[], Matcher | None]:
        """What makes a matcher for an answer, if it is held to a form. In a thread: grammars take time."""
        form = (given.held if given else None) or request.held
        if form is None:
            return lambda: None
        grammars = await asyncio.to_thread(lambda: self._grammars)
        await asyncio.to_thread(grammars.matcher, form)  # it is kept
        return lambda: grammars.matcher(form)

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._tokenizer, self._vocabulary, self._batcher.ends)

    def _made(
        self, request: FullRequest, found: Read | RequestError, matcher: Callable[[], Matcher | None], number: int = 0
    ) -> Answer:
        """An answer that is to be generated; `number` among those to the same prompt."""
        from .generation import Answer

        if isinstance(found, RequestError):
            raise found
        prompt, inputs = found
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
        best = request.best if request.prompt is None else request.best_plain
        sampling = self._sampling(request, request.seed_of(number))
        return Answer(prompt, limit, sampling, request.stops, inputs, matcher(), best)

    def _sampling(self, request: Request, seed: int | None) -> Sampling:
        from .sampling import Sampling

        names = [name for name in Sampling.__dataclass_fields__ if name not in ("top_k", "seed")]
        asked = {name: value for name in names if (value := getattr(request, name)) is not None}
        defaults = {name: value for name in names if (value := self._defaults.get(name)) is not None}
        top_k = request.top_k if request.top_k is not None else self._defaults.get("top_k") or 0
        return Sampling(**defaults | asked, top_k=max(0, top_k), seed=seed)

    def _choice(self, answer: Answer, given: Tools | None) -> dict[str, Any]:
        text, end = "".join(answer.texts), self._end(answer)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if given is not None:
            message, end["finish_reason"] = given.read(text, answer.finish_reason)
        scores = {"logprobs": self._scores(answer.scored, "chat")} if answer.row.logprobs is not None else {}
        return {"message": message, **scores, **end}

    def _continuation(self, answer: Answer) -> dict[str, Any]:
        scores = None if answer.row.logprobs is None else self._scores(answer.scored, "completions")
        return {"text": "".join(answer.texts), "logprobs": scores, **self._end(answer)}

    def _scores(self, scored: list[Scored], route: str) -> dict[str, Any]:
        found = logprobs.chat(scored, self._token_bytes)
        return found if route == "chat" else logprobs.completion(found["content"])

    def _token_bytes(self, token: int) -> bytes:
        """A token as it stands in a text."""
        if token in self._batcher.ends or token in self._tokenizer.all_special_ids:
            return str(self._tokenizer.decode([token])).encode()
        return self._grammars.text(token)

    @staticmethod
    def _end(answer: Answer) -> dict[str, str]:
        """Why it ended, and by which stop string."""
        stop = {} if answer.stop_reason is None else {"stop_reason": answer.stop_reason}
        return {"finish_reason": answer.finish_reason, **stop}


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
