"""What dies is replaced, and every request ends in an answer or in one clear error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import psutil
import pyarrow as pa
import pytest

from sqlllm.errors import ModelError
from sqlllm.jobs.serving import Serving
from sqlllm.udfs.model import answer_batches
from sqlllm.udfs.transport import Endpoint

from .conftest import user
from .test_life import oracle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mortal(serving: Serving) -> Iterator[str]:
    """A model that dies, once, of a prompt that is a file's name, and is replaced."""
    serving.deploy(oracle("mortal", "mortal"))
    yield "mortal"
    serving.undeploy("mortal")


def select(serving: Serving, model: str, prompts: list[str]) -> list[str]:
    """The answers of the function `model` to a column of prompts, without Spark around it."""
    where = Endpoint(serving.endpoint, model, batch_size=4, in_flight=2)
    column = pa.array([[orjson.dumps({"instruction": prompt}).decode()] for prompt in prompts], pa.list_(pa.string()))
    (answers,) = [batch.to_pylist() for batch in answer_batches(where, iter([column]))]
    return [orjson.loads(answer[0]).get("output") for answer in answers]


def process_of(serving: Serving, model: str) -> psutil.Process:
    (worker,) = serving.workers(model)
    return psutil.Process(worker.pid)


def test_a_worker_killed_in_the_middle_of_a_batch_costs_no_row(serving: Serving, mortal: str, tmp_path: Path) -> None:
    poison = tmp_path / "poison"
    poison.touch()
    before = process_of(serving, mortal).pid
    prompts = [f"row {number}" for number in range(12)]
    assert select(serving, mortal, [*prompts[:6], str(poison), *prompts[6:]]) == [
        *(prompt.upper() for prompt in prompts[:6]),
        # Asked again, the file is gone, and the oracle's function says so: that row alone has no answer.
        None,
        *(prompt.upper() for prompt in prompts[6:]),
    ]
    assert process_of(serving, mortal).pid != before


def test_a_request_whose_worker_dies_ends_in_one_clear_error(
    serving: Serving, http: httpx.Client, mortal: str, tmp_path: Path
) -> None:
    for stream in (False, True):
        poison = tmp_path / "poison"
        poison.touch()
        body = {"model": mortal, "messages": user(str(poison)), "stream": stream}
        reply = http.post("/v1/chat/completions", json=body)
        assert reply.status_code == 503, reply.text
        assert reply.headers["retry-after"]
        assert reply.json()["error"]["code"] == "model_unavailable"
        again = http.post("/v1/chat/completions", json={"model": mortal, "messages": user("hello")})
        assert again.json()["choices"][0]["message"]["content"] == "HELLO"  # it waits for the new worker


@pytest.mark.rare
@pytest.mark.parametrize("model", ["vllm"], indirect=True)
def test_a_killed_engine_is_replaced(serving: Serving, http: httpx.Client, model: str) -> None:
    killed = serving.workers(model)[0].pid
    children = psutil.Process(killed).children(recursive=True)
    (engine,) = [child for child in children if "VLLM::" in " ".join(child.cmdline())]
    engine.kill()
    body = {"model": model, "messages": user("hello"), "max_tokens": 4, "temperature": 0}
    while psutil.pid_exists(killed) or serving.find(model).replicas < 2:
        assert http.post("/v1/chat/completions", json=body).status_code in (200, 503)
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_a_killed_gateway_costs_no_row(serving: Serving, mortal: str) -> None:
    prompts = [f"call {number}" for number in range(40)]
    gateway = next(
        process
        for process in psutil.Process().children(recursive=True)
        if "ServeReplica:sqlllm-gateway" in " ".join(process.cmdline())
    )
    gateway.kill()
    assert select(serving, mortal, prompts) == [prompt.upper() for prompt in prompts]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("too_large", "it does not fit into the memory that its worker may use"),
        ("killed", "its worker was killed as it loaded: there may be too little memory"),
    ],
)
def test_a_worker_without_memory_to_load_says_so_and_leaves_nothing(
    serving: Serving, mortal: str, function: str, words: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(words)) as raised:
        serving.deploy(oracle("hungry", function))
    assert len(str(raised.value).splitlines()) <= 3
    names = {deployment.name for deployment in serving.models()}
    assert "hungry" not in names
    assert mortal in names
