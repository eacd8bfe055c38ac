"""The contract between functions, client and gateway: headers, routes, error codes, and the shapes of a batch.

OpenAI's HTTP API, and vLLM's `POST /v1/chat/completions/batch`: `messages` is a list of conversations, and each has one
choice. Every name that both sides must spell alike stands here, once. Pure: imports nothing but JSON.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import orjson

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

# Headers.
QUERY_HEADER = "x-sqlllm-query"  # the statement of a request as JSON: id, user, limits, prices, store
CACHE_HEADER = "x-sqlllm-cache"  # of a response that needed no call: `cached` or `joined`

# Routes.
BATCH = "/v1/chat/completions/batch"
STORED = f"{BATCH}/stored"
USAGE = "/v1/usage"
CANCEL = f"{USAGE}/cancel"

# Codes of errors, as `error.code` has them.
CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
UNSUPPORTED = "unsupported_by_model"
INVALID_KEY = "invalid_api_key"
FOREIGN_PAGE = "foreign_page"  # a web page asked, and nobody allowed its origin
LIMIT_REACHED = "limit_reached"  # of a statement or a user
RATE_LIMITED = "rate_limited"
QUEUE_FULL = "queue_full"
MODEL_NOT_FOUND = "model_not_found"
MODEL_NOT_ALLOWED = "model_not_allowed"
MODEL_UNAVAILABLE = "model_unavailable"
CANCELLED = "cancelled"
# Of providers: wrong for every row alike.
PROVIDER_REFUSED = "provider_refused"  # the key
INSUFFICIENT_QUOTA = "insufficient_quota"  # the account is empty
# Of providers: wrong for one row.
PROVIDER_ERROR = "provider_error"
BAD_RESPONSE = "bad_response"  # status 200, and not what was asked for
# Of an answer that is there and gives nothing.
REFUSAL = "refusal"  # the model declined, in its own words
CONTENT_FILTER = "content_filter"  # the provider's filter stopped the answer
NO_ANSWER = "no_answer"  # empty, or thoughts alone

OF_ALL = frozenset({PROVIDER_REFUSED, INSUFFICIENT_QUOTA, MODEL_NOT_FOUND, MODEL_NOT_ALLOWED, INVALID_KEY})
"""Codes of errors that every row of a statement would get: the statement ends, with what was answered kept."""


TASKS = ("embed", "rerank", "transcribe", "speak", "draw")
"""What a batch may ask for instead of chat, in its field `task`."""


class ErrorObject(TypedDict):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str | None
    attempts: NotRequired[int]  # requests that were sent for it, if not one


class Usage(TypedDict):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Choice(TypedDict):
    """The answer to one conversation of a batch, or its error."""

    index: int
    message: dict[str, Any] | None
    finish_reason: str | None
    usage: NotRequired[Usage]  # of this conversation alone
    error: NotRequired[ErrorObject]  # then there is no message
    cached: NotRequired[bool]  # it comes from the store
    joined: NotRequired[bool]  # it was made for an equal request
    media_type: NotRequired[str]  # of content that is not text
    calls: NotRequired[int]  # requests that the provider answered for it, if not one; they are paid for


class BatchRequest(TypedDict):
    """A batch; the other fields are those of a chat request, and hold for all conversations."""

    model: str
    messages: list[list[dict[str, Any]]]
    task: NotRequired[str]  # `embed`, `rerank`, `transcribe`, `speak`, `draw`; without it a chat


class BatchResponse(TypedDict):
    """The choices in the order of the conversations; `usage` is the sum of what was paid for."""

    id: str
    model: str
    choices: list[Choice]
    usage: Usage


class RequestError(Exception):
    """This request failed: `status` is HTTP's, the rest is OpenAI's error object."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "",
        param: str | None = None,
        code: str | None = None,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after  # seconds, for status 429 and 503
        self.status = status
        self.kind = kind or _KINDS.get(status, "api_error")
        self.param = param
        self.code = code or _CODES.get(status)
        self.attempts = 1  # requests that were sent

    @classmethod
    def from_json(cls, status: int, body: bytes) -> RequestError:
        """The error that `to_json` wrote."""
        error = orjson.loads(body)["error"]
        return cls(error["message"], status=status, kind=error["type"], param=error["param"], code=error["code"])

    def to_dict(self) -> ErrorObject:
        """OpenAI's error object."""
        told: ErrorObject = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return told if self.attempts == 1 else {**told, "attempts": self.attempts}

    def to_json(self) -> bytes:
        """The body of the response."""
        return orjson.dumps({"error": self.to_dict()})


_KINDS = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}
_CODES = {401: INVALID_KEY, 404: MODEL_NOT_FOUND, 429: QUEUE_FULL, 503: MODEL_UNAVAILABLE}
