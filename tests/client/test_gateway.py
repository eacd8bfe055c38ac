"""The client against the gateway, which it finds by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Literal

import pytest

from sqlllm.client import LLM
from sqlllm.errors import ProviderError
from sqlllm.jobs.serving import ModelSpec, Serving

pytestmark = pytest.mark.slow


def answer(prompt: str) -> str:
    """The oracle's answers."""
    return '{"value": "yes"}' if "yes or no" in prompt else prompt.upper()


@pytest.fixture(scope="module")
def llm(serving: Serving) -> Iterator[LLM]:
    spec = ModelSpec(name="clients", engine="oracle", model_path="", engine_options={"function": f"{__name__}:answer"})
    serving.deploy(spec)
    yield LLM("clients", temperature=0)
    serving.undeploy("clients")


def test_the_gateway_of_this_process_is_found_and_answers(llm: LLM, serving: Serving) -> None:
    assert llm.endpoint.base == f"{serving.endpoint}/v1"
    reply = llm.chat("hello there")
    assert (reply.text, reply.finish_reason, reply.usage.total_tokens > 0) == ("HELLO THERE", "stop", True)
    stream = llm.stream("hello there")
    assert "".join(map(str, stream)) == "HELLO THERE"
    assert stream.reply.usage == reply.usage
    assert asyncio.run(llm.achat("later")).text == "LATER"
    assert llm.chat("yes or no?", returns=Literal["yes", "no"]).value == "yes"  # type: ignore[call-overload]
    assert "clients" in llm.models()
    assert llm.meta()["meta"]["model_name"] == "clients"
    assert len(llm.tokenize("hello")) > 0


def test_its_errors_name_the_cause(llm: LLM) -> None:
    with pytest.raises(ProviderError, match="none-such") as caught:
        llm.with_("none-such").chat("hi")
    assert caught.value.status == 404
