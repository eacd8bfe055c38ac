"""The first answer of a model that was deployed: until then its deployment is not done."""

from __future__ import annotations

import time

import httpx

from sqlllm.errors import ModelError, SetupError

from ..spec import ModelSpec
from ..worker.engines import get_engine

_POLL_SECONDS = 0.05


def first_answer(http: httpx.Client, spec: ModelSpec, digest: str, deadline: float) -> None:
    """Wait until the gateway calls the workers of this spec, with this fingerprint if any, and have one answer.

    Raises: SetupError if the gateway cannot be reached; ModelError if the model is not found by `deadline`
    (time.monotonic), or does not answer.
    """
    try:
        http.get("/health", timeout=30)
    except httpx.TransportError as error:
        raise SetupError(
            f"the gateway at {http.base_url} cannot be reached from here: {error}",
            cure="Open that port, or set serving.host to an address of the head node that all machines reach.",
        ) from None
    try:
        reply = _answered(http, spec, digest, deadline)
    except httpx.TransportError as error:
        raise ModelError(
            f"model {spec.name} loaded but does not answer: {error or type(error).__name__}",
            cure="If it is slow, set serving.load_timeout higher.",
        ) from None
    if reply.status_code != 200:
        raise ModelError(f"model {spec.name} loaded but does not answer: {_message(reply)}")


def _answered(http: httpx.Client, spec: ModelSpec, digest: str, deadline: float) -> httpx.Response:
    # The gateway may go on calling the workers that were replaced, and take their answers for the new model's.
    while (reply := http.get(f"/v1/models/{spec.name}")).status_code in (200, 404, 503):
        told = reply.json() if reply.status_code == 200 else {}
        if told and told["spec"] == spec.shown() and digest in ("", told["fingerprint"]):
            break
        if time.monotonic() > deadline:
            raise ModelError(f"model {spec.name} loaded, but the gateway does not find it")
        time.sleep(_POLL_SECONDS)
    generates = get_engine(spec.engine).generates
    if reply.status_code == 200 and generates and "completions" in reply.json()["routes"]:
        return http.post("/v1/completions", json={"model": spec.name, "prompt": "1", "max_tokens": 1})
    return reply


def _message(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {reply.status_code}: {reply.text[:200]}"
