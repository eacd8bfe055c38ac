"""Byzer-LLM's client: the same methods and shapes, on an `LLM`."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlllm.client import LLM, Image, Sound
from sqlllm.client.asking import converse
from sqlllm.client.effects import drive
from sqlllm.client.long import prefixed
from sqlllm.client.messages import decoded
from sqlllm.client.replies import Reply
from sqlllm.client.streams import Stream, in_thread
from sqlllm.client.tools import Tools, outcome
from sqlllm.errors import AnswerError, ModelError, OptionError

from .answers import (
    LLMClassResponse,
    LLMFunctionCallResponse,
    LLMRequest,
    LLMResponse,
    Responses,
    SingleOutputMeta,
    meta,
)
from .models import generation, known, provided
from .prompting import prompt, transcribed
from .tags import asyncfy_with_semaphore

# Of Byzer-LLM's clusters: what is set of them is settled elsewhere here, and has no effect.
_NO_EFFECT = frozenset(
    {
        "setup_auto",
        "setup_load_balance_way",
        "setup_max_input_length",
        "setup_max_model_length",
        "setup_max_output_length",
        "setup_pin_model_worker_mapping",
        "setup_template",
    }
)
_DEPLOYMENT = {
    "setup_gpus_per_worker": "gpus_per_worker",
    "setup_cpus_per_worker": "cpus_per_worker",
    "setup_num_workers": "num_workers",
    "setup_worker_concurrency": "worker_concurrency",
    "setup_infer_backend": "inferBackend",
}


class SimpleByzerLLM:
    """Byzer-LLM's client without a cluster: models at providers, and those behind the gateway that is found."""

    def __init__(self, url: str | None = None, default_model_name: str | None = None, **_: Any) -> None:
        self.default_model_name = default_model_name
        self.default_emb_model_name: str | None = None
        self.default_rerank_model_name: str | None = None
        self._url = url
        self._models: dict[str, LLM] = {}
        self._kinds: dict[str, str] = {}
        self._on_cluster: set[str] = set()
        self._extra: dict[str, dict[str, Any]] = {}
        self._formats: dict[tuple[str, str], Callable[..., str]] = {}
        self._deployment: dict[str, str] = {}

    @classmethod
    def from_default_model(cls, model: str, **_: Any) -> Any:
        """A client whose model is `model`."""
        return cls(default_model_name=model)

    # Models

    def deploy(
        self,
        model_path: str = "",
        pretrained_model_type: str = "",
        udf_name: str = "",
        infer_params: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, str]:
        """A model of a provider is asked directly; another is deployed on the cluster of `sqlllm up`."""
        params = dict(infer_params or {})
        found = provided(pretrained_model_type, params) if pretrained_model_type.startswith("saas/") else None
        self._kinds[udf_name] = pretrained_model_type
        if found is None:
            from .cluster import deploy

            deploy(udf_name, model_path, pretrained_model_type, self._deployment, params)
            self._on_cluster.add(udf_name)
            found = LLM(udf_name)
        self._models[udf_name] = found
        self.default_model_name = self.default_model_name or udf_name
        return {"model": udf_name}

    def undeploy(self, udf_name: str, force: bool = False) -> None:
        """Forget a model of a provider; remove another from the cluster."""
        here = self._models.pop(udf_name, None) is not None and udf_name not in self._on_cluster
        self._kinds.pop(udf_name, None)
        if not here:
            self._on_cluster.discard(udf_name)
            from .cluster import undeploy

            undeploy(udf_name, force)

    def is_model_exist(self, udf_name: str) -> bool:
        """Whether there is a model of that name, here or behind the gateway."""
        if udf_name in self._models:
            return True
        try:
            return udf_name in LLM("-", self._url).models()
        except ModelError:
            return False

    def model(self, name: str | None = None) -> LLM:
        """The model as an `LLM`, with its parameters of `setup_extra_generation_params`."""
        name = name or self.default_model_name
        if not name:
            raise OptionError("no model is named", cure='Call llm.setup_default_model_name("chat").')
        found = self._models.get(name) or (LLM(name, self._url) if self._url else known(name))
        return found.with_(**self._extra[name]) if name in self._extra else found

    def setup_default_model_name(self, name: str) -> Any:
        """The model that is asked where none is named."""
        self.default_model_name = name
        return self

    def setup_default_emb_model_name(self, name: str) -> Any:
        """The model for vectors."""
        self.default_emb_model_name = name
        return self

    def setup_default_re_rank_model_name(self, name: str) -> Any:
        """The model for ranks."""
        self.default_rerank_model_name = name
        return self

    def setup_extra_generation_params(self, model: str, params: Mapping[str, Any]) -> Any:
        """Parameters of every call of a model."""
        self._extra[model] = generation(params)
        return self

    def setup_response_class_format_func(self, model: str, func: Callable[..., str]) -> Any:
        """Write the prompt of a typed answer: `func(prompt, cls)`."""
        self._formats[model, "class"] = func
        return self

    def setup_impl_func_format_func(self, model: str, func: Callable[..., str]) -> Any:
        """Write the prompt of an implementation: `func(prompt, function, cls)`."""
        self._formats[model, "impl"] = func
        return self

    def setup_function_calling_format_func(self, model: str, func: Callable[..., str]) -> Any:
        """Write the prompt of a call with tools: `func(prompt, tools, tool_choice)`."""
        self._formats[model, "tools"] = func
        return self

    def __getattr__(self, name: str) -> Any:
        if name in _DEPLOYMENT:

            def keep(value: Any) -> Any:
                self._deployment[_DEPLOYMENT[name]] = str(value)
                return self

            return keep
        if name in _NO_EFFECT:
            return lambda *_, **__: self
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    # Chat

    def chat_oai(
        self,
        conversations: list[dict[str, Any]],
        tools: list[Any] | None = None,
        tool_choice: Any = None,
        execute_tool: bool = False,
        impl_func: Callable[..., Any] | None = None,
        execute_impl_func: bool = False,
        impl_func_params: Mapping[str, Any] | None = None,
        response_class: Any = None,
        response_after_chat: bool = False,
        model: str | None = None,
        llm_config: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> list[Any]:
        """Ask; a list with one answer, whose class depends on what is asked for: text, tools or a typed value."""
        name = model or self.default_model_name or ""
        llm, config = self.model(name), generation(llm_config or {})
        messages = [{**message, "content": decoded(message.get("content"))} for message in conversations]
        if impl_func is not None:
            return [
                self._implemented(llm, conversations, impl_func, execute_impl_func, impl_func_params, response_class)
            ]
        start = time.monotonic()
        media = _media(llm, self._kinds.get(name, ""), conversations[-1].get("content"), config)
        if media is not None:
            return [LLMResponse(media, conversations[-1].get("content"), {"time_cost": time.monotonic() - start})]
        if tools:
            return [self._with_tools(llm, name, messages, tools, tool_choice, execute_tool, config)]
        reply = self._asked(llm, messages, config)
        answer = LLMResponse(reply.text, conversations[-1].get("content"), meta(reply, time.monotonic() - start))
        if response_class is None:
            if self._kinds.get(name) == "custom/qwen_vl_chat":
                answer.output = json.dumps({"response": reply.text, "history": reply.messages}, ensure_ascii=False)
            return [answer]
        return [self._typed(llm, name, messages, reply if response_after_chat else None, response_class, config)]

    async def async_chat_oai(self, *args: Any, **kwargs: Any) -> list[Any]:
        """`chat_oai` in an event loop."""
        answer: list[Any] = await asyncfy_with_semaphore(self.chat_oai)(*args, **kwargs)
        return answer

    def stream_chat_oai(
        self,
        conversations: list[dict[str, Any]],
        model: str | None = None,
        llm_config: Mapping[str, Any] | None = None,
        delta_mode: bool = False,
        **_: Any,
    ) -> Iterator[tuple[Any, SingleOutputMeta]]:
        """The answer piece by piece, each with what is known so far; `gen.incremental_output=False`: all so far."""
        config = generation(llm_config or {})
        whole = config.pop("incremental_output", True) is False and not delta_mode
        name = model or self.default_model_name or ""
        llm = self.model(name)
        media = _media(llm, self._kinds.get(name, ""), conversations[-1].get("content"), config)
        if media is not None:
            yield base64.b64decode(media), SingleOutputMeta(finish_reason="stop")
            return
        messages = [{**message, "content": decoded(message.get("content"))} for message in conversations]
        text, thoughts = "", ""
        with self._streamed(llm, messages, config) as stream:
            for delta in stream:
                text, thoughts = text + delta.text, thoughts + delta.thoughts
                if delta.text:
                    yield text if whole else delta.text, SingleOutputMeta(reasoning_content=thoughts)
            reply = stream.reply
        usage = reply.usage
        yield (
            text if whole else "",
            SingleOutputMeta(usage.prompt_tokens, usage.completion_tokens, reply.thoughts, reply.finish_reason or ""),
        )

    async def async_stream_chat_oai(self, *args: Any, **kwargs: Any) -> Any:
        """`stream_chat_oai` in an event loop."""
        pieces = self.stream_chat_oai(*args, **kwargs)
        following = asyncfy_with_semaphore(lambda: next(pieces, None))
        while (piece := await following()) is not None:
            yield piece

    def chat(self, model: str | None, request: LLMRequest) -> Responses:
        """Ask one text."""
        asked = [{"role": "user", "content": request.instruction}]
        return Responses(self.chat_oai(asked, model=model, llm_config=request.extra_params))

    def _asked(self, llm: LLM, messages: list[dict[str, Any]], config: dict[str, Any]) -> Reply[Any]:
        ask = _prefixed(llm, messages, dict(config))
        return drive(converse(ask), in_thread())

    def _streamed(self, llm: LLM, messages: list[dict[str, Any]], config: dict[str, Any]) -> Stream[Any]:
        return Stream(converse(_prefixed(llm, messages, dict(config)), stream=True))

    def _with_tools(
        self, llm: LLM, name: str, messages: list[dict[str, Any]], tools: list[Any], choice: Any, execute: bool,
        config: dict[str, Any],
    ) -> LLMFunctionCallResponse:  # fmt: skip
        start = time.monotonic()
        if choice is not None and callable(choice):
            config = {**config, "tool_choice": {"type": "function", "function": {"name": choice.__name__}}}
        if formatted := self._formats.get((name, "tools")):
            words = formatted(messages[-1]["content"], tools, choice)
            messages = [*messages[:-1], {**messages[-1], "content": words}]
        reply = llm.chat(messages, tools=tools, max_rounds=0, **config)
        values: list[Any] = []
        failed = ""
        if execute and reply.tool_calls:
            for call, function in zip(reply.tool_calls, Tools(tools).bound(reply.tool_calls), strict=True):
                try:
                    values.append(function())
                except Exception as error:  # noqa: BLE001 (it is the tool's own, and reported)
                    failed = outcome(call, error).text
        told = {**meta(reply, time.monotonic() - start), "reason": failed}
        return LLMFunctionCallResponse(LLMResponse(reply.text, messages[-1]["content"], told), values, told)

    def _typed(
        self, llm: LLM, name: str, messages: list[dict[str, Any]], first: Reply[Any] | None, kind: Any,
        config: dict[str, Any],
    ) -> LLMClassResponse:  # fmt: skip
        if first is not None:
            words = "Give your last answer as JSON."
            messages = [*messages, first.message, {"role": "user", "content": words}]
        elif formatted := self._formats.get((name, "class")):
            words = formatted(messages[-1]["content"], kind)
            messages = [*messages[:-1], {**messages[-1], "content": words}]
        start = time.monotonic()
        try:
            reply = llm.chat(messages, returns=kind, **config)
        except AnswerError as error:
            text = error.reply.text if error.reply else ""
            return LLMClassResponse(LLMResponse(text), None, {"reason": error.message, "resason": error.message})
        told = {**meta(reply, time.monotonic() - start), "reason": ""}
        return LLMClassResponse(LLMResponse(reply.text, "", told), reply.value, told)

    def _implemented(
        self, llm: LLM, conversations: list[dict[str, Any]], function: Callable[..., Any], execute: bool,
        params: Mapping[str, Any] | None, kind: Any,
    ) -> LLMClassResponse:  # fmt: skip
        from sqlllm.client.impl import implementation

        asked = str(conversations[-1].get("content", ""))
        written = implementation(llm, function, instruction=asked, returns=kind)
        if not execute:
            return LLMClassResponse(LLMResponse(written.code), None, {"reason": ""})
        try:
            return LLMClassResponse(LLMResponse(written.code), written(**(params or {})), {"reason": ""})
        except ModelError as error:
            return LLMClassResponse(
                LLMResponse(written.code), None, {"reason": error.message, "resason": error.message}
            )

    def prompt(self, render: str = "jinja2", **more: Any) -> Any:
        """A prompt function that asks this client."""
        return prompt(self, render, **more)

    def impl(self, instruction: str = "", **options: Any) -> Any:
        """Let the model write the body of a function: `@llm.impl()`."""
        from sqlllm.client.impl import impl

        return impl(lambda: self.model(), instruction=instruction, **options)

    def clear_impl_cache(self, **_: Any) -> None:
        """Forget the bodies that were written."""
        from sqlllm.client.impl import clear_impl_cache

        clear_impl_cache()

    # Vectors, tokens, what is known

    def emb(self, model: str | None, request: LLMRequest, **_: Any) -> Responses:
        """The vector of a text, or of each of several."""
        llm = self.model(model or self.default_emb_model_name)
        texts = [request.instruction] if isinstance(request.instruction, str) else list(request.instruction)
        return Responses(LLMResponse(vector, text) for text, vector in zip(texts, llm.embed(texts), strict=True))

    def emb_query(self, text: str, model: str | None = None) -> Responses:
        """The vector of a question."""
        return self.emb(model, LLMRequest(text))

    def emb_rerank(self, sentence_pairs: list[Any], model: str | None = None, **_: Any) -> list[LLMResponse]:
        """Pairs of a query and a text by their fit: `[[pair, score], ...]`, the best first; `[pair, score]` of one."""
        llm = self.model(model or self.default_rerank_model_name or self.default_emb_model_name)
        alone = bool(sentence_pairs) and isinstance(sentence_pairs[0], str)
        pairs = [sentence_pairs] if alone else list(sentence_pairs)
        scored: list[list[Any]] = []
        for query in dict.fromkeys(pair[0] for pair in pairs):
            texts = [pair[1] for pair in pairs if pair[0] == query]
            scored += [[[query, one.text], one.score] for one in llm.rerank(query, texts)]
        scored.sort(key=lambda one: -one[1])
        return [LLMResponse(scored[0] if alone else scored, sentence_pairs)]

    def tokenize(self, model: str | None, s: str, **_: Any) -> Responses:
        """The ids of a text's tokens."""
        return Responses([LLMResponse(self.model(model).tokenize(s), s)])

    def apply_chat_template(self, model: str | None, s: Any, **_: Any) -> Responses:
        """A conversation (a list, or JSON of it) as the text that the model reads, by the model's own template."""
        from .cluster import chat_template

        messages = json.loads(s) if isinstance(s, str) else s
        return Responses([LLMResponse(chat_template(self.model(model), messages), s)])

    def get_meta(self, model: str | None = None, **_: Any) -> dict[str, Any]:
        """What is known of a model, in Byzer-LLM's words."""
        told = self.model(model).meta()
        found: dict[str, Any] = told.get("meta") or told
        return found

    async def async_get_meta(self, model: str | None = None) -> dict[str, Any]:
        """`get_meta` in an event loop."""
        found: dict[str, Any] = await asyncfy_with_semaphore(self.get_meta)(model)
        return found

    def apply_sql_func(
        self,
        sql: str,
        data: list[Any],
        owner: str = "admin",
        url: str = "http://127.0.0.1:9003/model/predict",
        **more: Any,
    ) -> Any:
        """A select over rows, by `sqlllm engine` at `url`."""
        from .cluster import apply_sql_func

        return apply_sql_func(sql, data, owner, url, **more)

    # Training, on a session

    def sft(self, sft_name: str, local_data_dir_path: str, local_model_path: str, **options: Any) -> Any:
        """Fine-tune a model on a file of rows; the statement's table."""
        from .cluster import train

        return train("finetune", sft_name, local_data_dir_path, local_model_path, options)

    def pretrain(self, name: str, local_data_dir_path: str, local_model_path: str, **options: Any) -> Any:
        """Pretrain a model on files of text."""
        from .cluster import train

        return train("pretrain", name, local_data_dir_path, local_model_path, options)

    def merge_lora(
        self, name: str, local_model_path: str, local_adpator_model_path: str, local_target_path: str
    ) -> Any:
        """Merge an adapter into its model."""
        from .cluster import merge

        return merge(name, local_model_path, local_adpator_model_path, local_target_path)


class ByzerLLM(SimpleByzerLLM):
    """The same: what is a cluster's is deployed on that of `sqlllm up`."""


def get_single_llm(name: str = "", product_mode: str = "lite", *, model: str = "") -> SimpleByzerLLM:
    """A client of the first of these models (`a,b`) that is known."""
    del product_mode  # the models are found the same way in both
    first = (name or model).split(",")[0].strip()
    return SimpleByzerLLM(default_model_name=first)


def connect_cluster(address: str = "auto", **_: Any) -> None:
    """Nothing is needed: the gateway is found at each call."""
    del address


def _prefixed(llm: LLM, messages: list[dict[str, Any]], config: dict[str, Any]) -> Any:
    """What is asked; with `gen.response_prefix` the answer begins with the last message, the assistant's."""
    if images := config.pop("image", None):
        last = messages[-1]
        messages = [*messages[:-1], {**last, "content": [{"image": images}, {"text": last["content"]}]}]
    if str(config.pop("response_prefix", False)).lower() != "true":
        return llm._ask(messages, **config)
    if messages[-1]["role"] != "assistant":
        raise OptionError(
            "gen.response_prefix needs an assistant's message at the end", cure="Add what the answer begins with."
        )
    return prefixed(llm._ask(messages[:-1], **config), str(messages[-1]["content"]))


def _media(llm: LLM, kind: str, content: Any, config: Mapping[str, Any]) -> str | None:
    """What a model that speaks, draws or hears answers, in base64 or JSON; None for a model that chats."""
    if kind == "custom/stable_diffusion":
        drawn = llm.draw(str(content), n=int(config.get("batch_size", 1)))
        return json.dumps([{"img64": image.base64} for image in drawn])
    try:
        asked = json.loads(content) if isinstance(content, str) and content.lstrip().startswith(("{", "[")) else None
    except ValueError:
        return None
    if isinstance(asked, list) and len(asked) == 1 and isinstance(asked[0], dict) and set(asked[0]) == {"audio"}:
        return transcribed(llm, Sound(asked[0]["audio"]))
    if not isinstance(asked, dict) or not isinstance(asked.get("input"), str):
        return None
    text = asked.pop("input")
    if "voice" in asked:
        return llm.speak(text, **asked).base64
    image: Image = llm.draw(text, response_format="b64_json", **asked)[0]
    return image.base64
