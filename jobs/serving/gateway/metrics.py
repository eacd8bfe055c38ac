"""What the gateway has done, for Prometheus."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_USAGE = re.compile(rb'"(prompt_tokens|completion_tokens)"\s*:\s*(\d+)')
_TAIL = 2000  # bytes from the start of a usage object that hold its counts


class Metrics:
    """One gateway's; a model's label is set for models that are deployed only."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        by_route = ("model", "route")
        self._requests = Counter(
            "sqlllm_requests", "Requests that have ended", (*by_route, "status"), registry=registry
        )
        self._running = Gauge("sqlllm_requests_running", "Requests under way or queued", by_route, registry=registry)
        self._seconds = Histogram(
            "sqlllm_request_seconds", "From request to whole answer", by_route, buckets=_SECONDS, registry=registry
        )
        self._first = Histogram(
            "sqlllm_first_token_seconds", "From request to first event of a stream", ("model",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._tokens = Counter("sqlllm_tokens", "Tokens by kind: prompt, answer", ("model", "kind"), registry=registry)
        self._prompts = Counter(
            "sqlllm_batch_prompts", "Prompts of batches by what answered: model, cached, joined, failed",
            ("model", "source"), registry=registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)

    @contextmanager
    def request(self, model: str, route: str, calling: AbstractContextManager[None] | None = None) -> Iterator[Request]:
        """Count a request, from here to the end of the block or, for a stream, of its last event; `calling` as long."""
        request = Request(self, model, route)
        if calling is not None:
            request.held.enter_context(calling)
        try:
            yield request
        except BaseException as error:
            request.status = getattr(error, "status", 500 if isinstance(error, Exception) else 499)
            request.end()
            raise
        if not request.streams:
            request.end()

    def choices(self, model: str, choices: Iterable[dict[str, Any]]) -> None:
        """Count the answers of a batch; tokens are those that were paid for."""
        sources: dict[str, int] = {}
        prompt = answer = 0
        for choice in choices:
            source = next((one for one in ("cached", "joined") if one in choice), "model")
            source = "failed" if "error" in choice else source
            sources[source] = sources.get(source, 0) + 1
            if source == "model" and (usage := choice.get("usage")):
                prompt, answer = prompt + usage["prompt_tokens"], answer + usage["completion_tokens"]
        for source, count in sources.items():
            self._prompts.labels(model, source).inc(count)
        self.tokens(model, prompt, answer)

    def tokens(self, model: str, prompt: int, answer: int) -> None:
        """Count tokens."""
        for kind, count in (("prompt", prompt), ("answer", answer)):
            if count:
                self._tokens.labels(model, kind).inc(count)


class Request:
    """One request that is counted."""

    def __init__(self, metrics: Metrics, model: str, route: str) -> None:
        self.status, self.streams = 200, False
        self.held = ExitStack()  # what it is in until it ends
        self._metrics, self._labels = metrics, (model, route)
        self._started = time.perf_counter()
        metrics._running.labels(*self._labels).inc()

    def first(self) -> None:
        """The first event of a stream is there."""
        self._metrics._first.labels(self._labels[0]).observe(time.perf_counter() - self._started)

    def end(self) -> None:
        """The answer is whole."""
        self.held.close()
        self._metrics._running.labels(*self._labels).dec()
        self._metrics._requests.labels(*self._labels, str(self.status)).inc()
        self._metrics._seconds.labels(*self._labels).observe(time.perf_counter() - self._started)


def counted(answer: bytes) -> tuple[int, int]:
    """The tokens of prompt and answer that a response, or a stream's event, says; 0 if it does not."""
    start = answer.rfind(b'"usage"')
    if start < 0:
        return 0, 0
    found = {name: int(count) for name, count in _USAGE.findall(answer, start, start + _TAIL)}
    return found.get(b"prompt_tokens", 0), found.get(b"completion_tokens", 0)
