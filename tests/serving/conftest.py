"""The tiny model on every engine, and what `transformers` itself makes of a prompt; the oracle has its own answers."""

from __future__ import annotations

import csv
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.worker.engines.remote import http as remote_http
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

from .provider import Provider, serve

ENGINES_WITH_WEIGHTS = ["transformers", "vllm"]
ENGINES = [*ENGINES_WITH_WEIGHTS, "llama_cpp", "oracle", "remote"]
CONTEXT = 512


# Exact to the bit, as far as llama.cpp can be.
LLAMA_CPP = {"cache_type_k": "f32", "cache_type_v": "f32", "flash_attn": "false"}


# Before the turns, where a request has tools; without them the prompt is as ever.
TOOLS_TEMPLATE = (
    "{% if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    '<tool_call>{"name": "", "arguments": {}}</tool_call><|end|>{% endif %}'
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama whose chat template has a place for tools."""
    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    (folder / "chat_template.jinja").write_text(TOOLS_TEMPLATE + CHAT_TEMPLATE)
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: Path) -> Path:
    """The tiny model as a GGUF file."""
    return make_gguf(tiny_model)


def make_gguf(folder: Path) -> Path:
    """A model's folder as a GGUF file beside it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sqlllm.jobs.conversion import gguf_file

    file = folder.with_suffix(".gguf")
    gguf_file.write(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), file)
    return file


NO_BLANKS = '{"backend": "xgrammar", "disable_any_whitespace": true}'  # else a random model writes nothing else
# One process less, whose threads sleep while they wait.
_ON_A_CPU = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def anthropic_api(folder: Path) -> Iterator[str]:
    """Somebody else's server of Anthropic's protocol, vLLM's own, with the model `tiny`; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    command += ["--kv-cache-memory-bytes", str(2**30)]
    command += ["--structured-outputs-config", NO_BLANKS]
    address, told = f"http://127.0.0.1:{port}", folder.with_suffix(".log")
    with told.open("w") as log, subprocess.Popen(command, env=os.environ | _ON_A_CPU, stdout=log, stderr=log) as server:
        try:
            while server.poll() is None:
                with suppress(httpx.TransportError):
                    httpx.get(f"{address}/health").raise_for_status()
                    break
                time.sleep(0.2)
            assert server.poll() is None, told.read_text()
            yield address
        finally:
            server.terminate()


RARE = ["deepspeed", "claude"]
"""DeepSpeed generates as transformers does; Anthropic's protocol is that of a second vLLM, and of stubs elsewhere."""


@pytest.fixture(scope="session", params=[*ENGINES, *(pytest.param(one, marks=pytest.mark.rare) for one in RARE)])
def model(request: pytest.FixtureRequest, serving: Serving, tiny_model: Path) -> Iterator[str]:
    """The name of the tiny model on one engine."""
    kind = request.param
    with anthropic_api(tiny_model) if kind == "claude" else nullcontext("") as address:
        yield deploy(kind, request, serving, tiny_model, address)
        if kind in ("deepspeed", "llama_cpp", "claude"):  # no other test asks for it
            serving.undeploy(f"tiny_{kind}")


def deploy(kind: str, request: pytest.FixtureRequest, serving: Serving, tiny_model: Path, address: str) -> str:
    """Deploy the tiny model on one engine; `address` is that of a provider, if it is one. Gives its name."""
    name, engine = f"tiny_{kind}", kind
    path, options, cpus, workers = str(tiny_model), dict[str, str](), 1.0, 1
    if kind == "vllm":
        cpus, workers = 0.5, 2
        options = {"structured_outputs_config": NO_BLANKS}
    if kind == "deepspeed":
        cpus = 0.1
    if kind == "llama_cpp":
        path, options, cpus = str(request.getfixturevalue("tiny_gguf")), LLAMA_CPP, 0.1
    if kind == "oracle":
        table = tiny_model.parent / "answers.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("prompt", "answer"), *((text, oracle_says(text)) for text in prompts())])
        path, options = str(table), {"max_model_len": str(CONTEXT)}
    if kind == "remote":  # at our own gateway, with another model behind it
        behind = ModelSpec(name="tiny_transformers", engine="transformers", model_path=path)
        serving.deploy(behind)
        options = {"provider": "sqlllm", "base_url": f"{serving.endpoint}/v1", "model": behind.name}
        path = "saas/sqlllm/tiny_transformers"
    if kind == "claude":
        options = {"provider": "claude", "base_url": address, "api_key": "sk-none", "model": "tiny"}
        options["max_output_tokens"] = "100"  # where a request names none; of itself it is more than there is room for
        path, engine = "saas/claude/tiny", "remote"
    share = {"replicas": workers, "cpus_per_worker": cpus}
    spec = ModelSpec(name=name, engine=engine, model_path=path, engine_options=options, **share)
    serving.deploy(spec)
    return name


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """One that answers over real HTTP; its faults are tried again at once."""
    monkeypatch.setattr(remote_http, "_FIRST_DELAY", 0.001)
    with serve() as started:
        yield started


@pytest.fixture
def http(serving: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=serving.endpoint, timeout=120) as client:
        yield client


@dataclass(frozen=True)
class Expected:
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Reference:
    """Greedy `generate` of transformers, one prompt at a time."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder)

    def chat(self, text: str, max_tokens: int = CONTEXT) -> Expected:
        messages = [{"role": "user", "content": text}]
        return self._generate(
            self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False), max_tokens
        )

    def completion(self, text: str, max_tokens: int = CONTEXT) -> Expected:
        return self._generate(self.tokenizer(text)["input_ids"], max_tokens)

    def logprobs(self, text: str, tokens: int) -> list[float]:
        """Of the first tokens of the answer."""
        import torch

        messages = [{"role": "user", "content": text}]
        prompt = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        ids = self.model.generate(torch.tensor([prompt]), max_new_tokens=tokens, do_sample=False)
        with torch.inference_mode():
            scores = self.model(ids).logits[0].log_softmax(-1)
        return [float(scores[at - 1, ids[0, at]]) for at in range(len(prompt), ids.shape[1])]

    def _generate(self, prompt: list[int], max_tokens: int) -> Expected:
        import torch

        ids = torch.tensor([prompt])
        limit = min(max_tokens, CONTEXT - len(prompt))
        answer = self.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False
        )[0, len(prompt) :].tolist()
        ended = answer[-1] == self.tokenizer.eos_token_id
        text = self.tokenizer.decode(answer, skip_special_tokens=True)
        return Expected(text, "stop" if ended else "length", len(prompt), len(answer))


class OracleReference:
    """A token is four bytes of UTF-8; here only ASCII is answered."""

    def chat(self, text: str, max_tokens: int = CONTEXT) -> Expected:
        whole, size = oracle_says(text), math.ceil(len(text.encode()) / 4)
        tokens = math.ceil(len(whole) / 4)
        if tokens <= max_tokens:
            return Expected(whole, "stop", size, tokens)
        return Expected(whole[: 4 * max_tokens], "length", size, max_tokens)

    completion = chat


def oracle_says(text: str) -> str:
    return f"{prompts().index(text)} is its number; " * (30 if text == "hello" else 3)


@pytest.fixture(scope="session")
def reference(model: str, tiny_model: Path) -> Reference | OracleReference:
    return OracleReference() if model == "tiny_oracle" else Reference(tiny_model)


def user(text: str) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


@cache
def prompts() -> list[str]:
    """Thirty different prompts of different lengths; some end early, some run to the limit."""
    return ["hello", "what is 5+5?", "你好，世界", "x " * 100] + [f"say {number}" for number in range(26)]  # noqa: RUF001
