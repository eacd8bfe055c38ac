"""A model by name: `LLM("chat")` behind a gateway, `LLM("gpt-4o", base_url=..., api_key=...)` at a provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from sqlllm.errors import OptionError

from . import routes
from .asking import Ask, Limits, converse
from .effects import Steps, drive, drive_async
from .endpoint import Endpoint, Key, find
from .media import Image, Sound
from .messages import conversation
from .replies import Reply
from .requests import Policy
from .routes import Ranked, Transcript
from .streams import AsyncStream, Stream, in_loop, in_thread
from .tools import Tools
from .typed import shape

if TYPE_CHECKING:
    from .impl import Implemented

P = ParamSpec("P")
T = TypeVar("T")


_OWN = (
    "api_key", "base_url", "certificate", "headers", "idle", "images", "max_calls", "max_rounds", "price", "retries",
    "returns", "sounds", "timeout", "tool_timeout", "tools",
)  # fmt: skip


def _check_names(params: Mapping[str, Any]) -> None:
    """A field of the request is sent as it is; a field that is nearly an option of ours is a slip.

    Raises: OptionError for that.
    """
    for name in params:
        if name not in _OWN and (near := get_close_matches(name, _OWN, n=1, cutoff=0.85)):
            raise OptionError(f"unknown option {name}", cure=f"Did you mean {near[0]}?", key=name)


class LLM:
    """A model behind a gateway or at a provider. Costs nothing to make, and may be shared by threads and processes.

    Args:
        model: Its name there.
        base_url: The address of an API in OpenAI's shapes; without one, the gateway that is found: that of the
            variable SQLLLM_BASE_URL, of a session in this process, or of `sqlllm up`.
        api_key: Its key, or `"env:NAME"` for that in a variable. It is shown nowhere and leaves the process in no
            pickle: where a pickled LLM is used, `env:NAME` or SQLLLM_API_KEY must be set.
        timeout: Seconds that a call may take with all its attempts; of a stream, until it begins.
        idle: Seconds between two pieces of a stream.
        retries: Attempts after the first one.
        price: Per million tokens of prompts and of answers, for `reply.cost`.
        tools: `native` tool calls, `json` for a model that has none; `auto` finds out.
        certificate: PEM text or file that an https address is trusted by, alone.
        params: Sent with every chat: `temperature=0`, `max_tokens=100`, ...

    Every method `name` has an asynchronous twin `aname`. Errors are those of `sqlllm.errors`: ProviderError,
    AnswerError, LimitError, OptionError.

        llm = LLM("chat")
        print(llm.chat("Name a colour.").text)
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 600.0,
        idle: float = 120.0,
        retries: int = 2,
        price: tuple[float, float] | None = None,
        tools: str = "auto",
        headers: Mapping[str, str] | None = None,
        certificate: str = "",
        **params: Any,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise OptionError("an LLM needs the name of a model", cure='Write LLM("chat").')
        if tools not in ("auto", "native", "json"):
            raise OptionError(f"tools={tools!r} is not valid", cure="Write auto, native or json.")
        if timeout <= 0 or idle <= 0 or retries < 0:
            raise OptionError("timeout and idle are above 0, retries 0 or more")
        _check_names(params)
        self.model = model
        self.params = params
        self._policy = Policy(float(timeout), float(idle), int(retries))
        self._price = price
        self._tools = tools
        # A gateway that is found is looked for at each call: it may yet be started, or move.
        self._endpoint = find(base_url, api_key, certificate, headers) if base_url is not None else None
        self._key = Key(api_key or "")
        self._certificate = certificate
        self._headers = {name: Key(value) for name, value in (headers or {}).items()}

    @property
    def endpoint(self) -> Endpoint:
        """Where it is. Raises: ModelError if no gateway is found."""
        if self._endpoint is not None:
            return self._endpoint
        headers = {name: value.reveal() for name, value in self._headers.items()}
        return find(None, self._key.reveal() or None, self._certificate, headers)

    def __repr__(self) -> str:
        return f"LLM({self.model!r}{f', {self._endpoint.base!r}' if self._endpoint else ''})"

    def with_(self, model: str | None = None, **params: Any) -> LLM:
        """The same with another model or with more parameters; `timeout`, `idle` and `retries` are among them."""
        made = object.__new__(LLM)
        made.__dict__ |= self.__dict__
        made.model = model or self.model
        policy = {name: params.pop(name) for name in ("timeout", "idle", "retries") if name in params}
        made._policy = replace(self._policy, **policy)
        made.params = {**self.params, **params}
        return made

    # Chat

    @overload
    def chat(self, messages: Any, *, returns: type[T], tools: Iterable[Any] = (), images: Sequence[Any] = (),
             sounds: Sequence[Any] = (), max_rounds: int = 5, max_calls: int = 20, tool_timeout: float | None = 120.0,
             **params: Any) -> Reply[T]: ...  # fmt: skip
    @overload
    def chat(self, messages: Any, *, returns: None = None, tools: Iterable[Any] = (), images: Sequence[Any] = (),
             sounds: Sequence[Any] = (), max_rounds: int = 5, max_calls: int = 20, tool_timeout: float | None = 120.0,
             **params: Any) -> Reply[str]: ...  # fmt: skip
    def chat(self, messages: Any, *, returns: Any = None, **options: Any) -> Reply[Any]:
        """Ask, and wait for the answer.

        Args:
            messages: A text, a conversation as a list of messages, or a `Messages`.
            returns: The type of the answer, `reply.value`: a pydantic class, dataclass, TypedDict, Literal, Enum,
                list[...], number. An answer that is not of the type is asked for twice more.
            tools: Functions that the model may call, with type hints and a docstring; sync or async.
            images, sounds: Added to the last message: paths, bytes, addresses, images of Pillow.
            max_rounds, max_calls: Limits of tools; with `max_rounds=0` no tool is called.
            tool_timeout: Seconds that one call of a tool may take.
            params: More fields of the request, such as `temperature`; `timeout`, `idle`, `retries` as in LLM.
        """
        return drive(converse(self._ask(messages, returns, **options)), in_thread())

    @overload
    async def achat(self, messages: Any, *, returns: type[T], tools: Iterable[Any] = (), images: Sequence[Any] = (),
                    sounds: Sequence[Any] = (), max_rounds: int = 5, max_calls: int = 20,
                    tool_timeout: float | None = 120.0, **params: Any) -> Reply[T]: ...  # fmt: skip
    @overload
    async def achat(self, messages: Any, *, returns: None = None, tools: Iterable[Any] = (),
                    images: Sequence[Any] = (), sounds: Sequence[Any] = (), max_rounds: int = 5, max_calls: int = 20,
                    tool_timeout: float | None = 120.0, **params: Any) -> Reply[str]: ...  # fmt: skip
    async def achat(self, messages: Any, *, returns: Any = None, **options: Any) -> Reply[Any]:
        """`chat` in an event loop."""
        return await drive_async(converse(self._ask(messages, returns, **options)), in_loop())

    @overload
    def stream(self, messages: Any, *, returns: type[T], **options: Any) -> Stream[T]: ...
    @overload
    def stream(self, messages: Any, *, returns: None = None, **options: Any) -> Stream[str]: ...
    def stream(self, messages: Any, *, returns: Any = None, **options: Any) -> Stream[Any]:
        """Ask, and get the answer piece by piece; the arguments are those of `chat`."""
        return Stream(converse(self._ask(messages, returns, **options), stream=True))

    @overload
    def astream(self, messages: Any, *, returns: type[T], **options: Any) -> AsyncStream[T]: ...
    @overload
    def astream(self, messages: Any, *, returns: None = None, **options: Any) -> AsyncStream[str]: ...
    def astream(self, messages: Any, *, returns: Any = None, **options: Any) -> AsyncStream[Any]:
        """`stream` in an event loop."""
        return AsyncStream(converse(self._ask(messages, returns, **options), stream=True))

    # Vectors, ranks, tokens

    @overload
    def embed(self, texts: str, **params: Any) -> list[float]: ...
    @overload
    def embed(self, texts: Sequence[str], **params: Any) -> list[list[float]]: ...
    def embed(self, texts: str | Sequence[str], **params: Any) -> Any:
        """The vector of a text, or the vectors of several, in their order."""
        return self._run(self._embed(texts, params))

    @overload
    async def aembed(self, texts: str, **params: Any) -> list[float]: ...
    @overload
    async def aembed(self, texts: Sequence[str], **params: Any) -> list[list[float]]: ...
    async def aembed(self, texts: str | Sequence[str], **params: Any) -> Any:
        """`embed` in an event loop."""
        return await self._arun(self._embed(texts, params))

    def rerank(self, query: str, documents: Sequence[str], **params: Any) -> list[Ranked]:
        """The documents by their fit to the query, the best first; `top_n` limits them."""
        return self._run(routes.rerank(self.endpoint, self.model, query, documents, self._policy, params))

    async def arerank(self, query: str, documents: Sequence[str], **params: Any) -> list[Ranked]:
        """`rerank` in an event loop."""
        return await self._arun(routes.rerank(self.endpoint, self.model, query, documents, self._policy, params))

    def tokenize(self, what: Any, **params: Any) -> list[int]:
        """The ids of the tokens of a text, or of a conversation as the model sees it."""
        return self._run(self._tokenize(what, params))

    async def atokenize(self, what: Any, **params: Any) -> list[int]:
        """`tokenize` in an event loop."""
        return await self._arun(self._tokenize(what, params))

    # Sounds and images

    def transcribe(self, sound: Any, **params: Any) -> Transcript:
        """The words in a sound: a path, bytes or a `Sound`."""
        return self._run(routes.transcribe(self.endpoint, self.model, Sound.of(sound), self._policy, params))

    async def atranscribe(self, sound: Any, **params: Any) -> Transcript:
        """`transcribe` in an event loop."""
        return await self._arun(routes.transcribe(self.endpoint, self.model, Sound.of(sound), self._policy, params))

    def speak(self, text: str, **params: Any) -> Sound:
        """A text as sound; `voice`, `response_format` ("mp3", "wav") and others are the model's."""
        return self._run(routes.speak(self.endpoint, self.model, text, self._policy, params))

    async def aspeak(self, text: str, **params: Any) -> Sound:
        """`speak` in an event loop."""
        return await self._arun(routes.speak(self.endpoint, self.model, text, self._policy, params))

    def draw(self, prompt: str, **params: Any) -> list[Image]:
        """Images of a text; `n`, `size` and others are the model's."""
        return self._run(routes.draw(self.endpoint, self.model, prompt, self._policy, params))

    async def adraw(self, prompt: str, **params: Any) -> list[Image]:
        """`draw` in an event loop."""
        return await self._arun(routes.draw(self.endpoint, self.model, prompt, self._policy, params))

    # What is there

    def models(self) -> list[str]:
        """The names of the models that are there."""
        return self._run(routes.models(self.endpoint, self._policy))

    async def amodels(self) -> list[str]:
        """`models` in an event loop."""
        return await self._arun(routes.models(self.endpoint, self._policy))

    def meta(self) -> dict[str, Any]:
        """What the gateway or the provider knows of the model."""
        return self._run(routes.meta(self.endpoint, self.model, self._policy))

    async def ameta(self) -> dict[str, Any]:
        """`meta` in an event loop."""
        return await self._arun(routes.meta(self.endpoint, self.model, self._policy))

    # Functions that the model writes

    def impl(
        self, *, instruction: str = "", allow: bool | None = None, timeout: float = 10.0, memory_mb: int = 512
    ) -> Callable[[Callable[P, T]], Implemented[P, T]]:
        """Have the model write the body of a function, `@llm.impl()`, and run it confined; see `impl.impl`.

        Off unless the setting `allow.python` or `allow=True` allows it.
        """
        from .impl import impl

        return impl(self, instruction=instruction, allow=allow, timeout=timeout, memory_mb=memory_mb)

    def clear_impl_cache(self) -> None:
        """Forget the bodies that models have written."""
        from .impl import clear_impl_cache

        clear_impl_cache()

    def _ask(
        self,
        messages: Any,
        returns: Any = None,
        *,
        tools: Iterable[Any] = (),
        images: Sequence[Any] = (),
        sounds: Sequence[Any] = (),
        max_rounds: int = 5,
        max_calls: int = 20,
        tool_timeout: float | None = 120.0,
        **params: Any,
    ) -> Ask:
        _check_names(params)
        if "stream" in params:
            raise OptionError("stream is not a parameter of chat", cure="Call llm.stream(...).", key="stream")
        policy: dict[str, Any] = {name: params.pop(name) for name in ("timeout", "idle", "retries") if name in params}
        media = [Image.of(image) for image in images] + [Sound.of(sound) for sound in sounds]
        return Ask(
            self.endpoint,
            self.model,
            conversation(messages, media),
            {name: value for name, value in {**self.params, **params}.items() if value is not None},
            replace(self._policy, **policy),
            Tools(tools),
            Limits(max_rounds, max_calls, tool_timeout),
            shape(returns),
            self._price,
            self._tools == "json",
        )

    def _embed(self, texts: str | Sequence[str], params: Mapping[str, Any]) -> Steps[Any]:
        alone = isinstance(texts, str)
        listed = [texts] if isinstance(texts, str) else list(texts)
        vectors = yield from routes.embed(self.endpoint, self.model, listed, self._policy, params)
        return vectors[0] if alone else vectors

    def _tokenize(self, what: Any, params: Mapping[str, Any]) -> Steps[list[int]]:
        asked = what if isinstance(what, str) else conversation(what)
        return (yield from routes.tokenize(self.endpoint, self.model, asked, self._policy, params))

    def _run(self, steps: Steps[T]) -> T:
        return drive(steps, in_thread())

    async def _arun(self, steps: Steps[T]) -> T:
        return await drive_async(steps, in_loop())
