"""What a model does besides chat: vectors, ranks, tokens, speech, images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlllm.errors import OptionError, ProviderError

from .effects import Request, Steps
from .endpoint import Endpoint
from .media import Image, Sound
from .requests import Policy, exchange, loads, not_json, post, received, well_formed

_BATCH = 256  # texts in one request for vectors


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document by its fit to a query: `index` is its place in what was given, a higher `score` fits better."""

    index: int
    score: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """The words in a sound; `str(transcript)` is the text. Times are in seconds."""

    text: str
    language: str = ""
    duration: float = 0.0
    segments: list[dict[str, Any]] = field(default_factory=list, repr=False)
    words: list[dict[str, Any]] = field(default_factory=list, repr=False)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return self.text


def embed(
    endpoint: Endpoint, model: str, texts: Sequence[str], policy: Policy, params: Mapping[str, Any]
) -> Steps[list[list[float]]]:
    """The vector of each text."""
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise OptionError(f"text {index} to embed is empty or not a text", cure="Leave it out.")
    vectors: list[list[float]] = []
    for start in range(0, len(texts), _BATCH):
        part = list(texts[start : start + _BATCH])
        body = {"model": model, "input": part, **params}
        data = _data(endpoint, (yield from received(post(endpoint, "embeddings", body), policy)))
        if len(data) != len(part):
            raise ProviderError(f"{endpoint.base} gave {len(data)} vectors for {len(part)} texts", status=200)
        with well_formed(endpoint):
            found = [one["embedding"] for one in sorted(data, key=lambda one: one.get("index", 0))]
            vectors += [[float(number) for number in vector] for vector in found]
    return vectors


def rerank(
    endpoint: Endpoint, model: str, query: str, documents: Sequence[str], policy: Policy, params: Mapping[str, Any]
) -> Steps[list[Ranked]]:
    """The documents, the best first."""
    if not documents:
        return []
    body = {"model": model, "query": query, "documents": list(documents), **params}
    answer = yield from received(post(endpoint, "rerank", body), policy)
    with well_formed(endpoint):
        ranked = [
            Ranked(one["index"], float(one.get("relevance_score", one.get("score"))), documents[one["index"]])
            for one in _data(endpoint, answer, "results")
        ]
    return sorted(ranked, key=lambda one: (-one.score, one.index))


def tokenize(
    endpoint: Endpoint, model: str, what: str | list[dict[str, Any]], policy: Policy, params: Mapping[str, Any]
) -> Steps[list[int]]:
    """The ids of the tokens of a text or a conversation."""
    body = {"model": model, ("prompt" if isinstance(what, str) else "messages"): what, **params}
    return _data(endpoint, (yield from received(post(endpoint, "//tokenize", body), policy)), "tokens")


def transcribe(
    endpoint: Endpoint, model: str, sound: Sound, policy: Policy, params: Mapping[str, Any]
) -> Steps[Transcript]:
    """The words in a sound."""
    if sound.url:
        raise OptionError("a sound to transcribe is a file or bytes", cure=f"Fetch {sound.url} first.")
    fields = {"model": model, "response_format": "verbose_json", **params}
    content, kind = _form(fields, sound)
    told = yield from received(Request(endpoint, "audio/transcriptions", content, kind), policy)
    return Transcript(
        str(told.get("text", "")),
        str(told.get("language") or ""),
        float(told.get("duration") or 0),
        list(told.get("segments") or ()),
        list(told.get("words") or ()),
        told,
    )


def speak(endpoint: Endpoint, model: str, text: str, policy: Policy, params: Mapping[str, Any]) -> Steps[Sound]:
    """A text as sound."""
    body = {"model": model, "input": text, **params}
    response = yield from exchange(post(endpoint, "audio/speech", body), policy)
    if response.headers.get("content-type", "").startswith(("application/json", "text/")):
        raise (
            not_json(response, endpoint)
            if loads(response.body) is None
            else ProviderError(
                f"{endpoint.base} gave no sound: {response.body[:200].decode(errors='replace')}", status=200
            )
        )
    return Sound(response.body)


def draw(endpoint: Endpoint, model: str, prompt: str, policy: Policy, params: Mapping[str, Any]) -> Steps[list[Image]]:
    """Images of a text."""
    body = {"model": model, "prompt": prompt, **params}
    answer = yield from received(post(endpoint, "images/generations", body), policy)
    made = []
    for one in _data(endpoint, answer):
        with well_formed(endpoint):
            encoded = one.get("b64_json")
            made.append(Image(f"data:image/png;base64,{encoded}" if encoded else one["url"]))
    return made


def models(endpoint: Endpoint, policy: Policy) -> Steps[list[str]]:
    """The names of the models that are there."""
    answer = yield from received(Request(endpoint, "models"), policy)
    with well_formed(endpoint):
        return sorted(str(one["id"]) for one in _data(endpoint, answer))


def meta(endpoint: Endpoint, model: str, policy: Policy) -> Steps[dict[str, Any]]:
    """What is known of a model."""
    from urllib.parse import quote

    return (yield from received(Request(endpoint, f"models/{quote(model)}"), policy))


def _data(endpoint: Endpoint, answer: Mapping[str, Any], name: str = "data") -> list[Any]:
    data = answer.get(name)
    if not isinstance(data, list):
        raise ProviderError(
            f"{endpoint.base}: the response has no {name}", cure="Is that route the model's?", status=200
        )
    return data


def _form(fields: Mapping[str, Any], sound: Sound) -> tuple[bytes, str]:
    """A form with a file, and its content type."""
    boundary = os.urandom(16).hex()
    parts = []
    for name, value in fields.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            key = f"{name}[]" if isinstance(value, list | tuple) else name
            text = str(one).lower() if isinstance(one, bool) else str(one)
            parts.append(f'--{boundary}\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'.encode())
    head = f'content-disposition: form-data; name="file"; filename="sound.{sound.format}"\r\ncontent-type: {sound.mime}'
    parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + sound.data + f"\r\n--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"
