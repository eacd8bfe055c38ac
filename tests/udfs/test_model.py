"""Batches against a real HTTP server; no Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from sqlllm.errors import ModelError
from sqlllm.udfs.model import answer_batches
from sqlllm.udfs.transport import Endpoint

from .gateway import Gateway


def ask(prompt: str | None, **fields: str) -> str:
    return json.dumps({"instruction": prompt, **fields})


def endpoint(gateway: Gateway) -> Endpoint:
    return Endpoint(url=gateway.url, model="m", batch_size=4, in_flight=3, timeout=5, retry_seconds=2)


def rows(values: list[list[str | None] | None]) -> pa.Array:
    return pa.array(values, pa.list_(pa.string()))


def answers(where: Endpoint, *batches: pa.Array) -> list[list[list[str | None] | None]]:
    return [batch.to_pylist() for batch in answer_batches(where, iter(batches))]


def outputs(batch: list[list[str | None] | None]) -> list[str | None]:
    """The text of each row's one answer, `!kind` for an error."""
    texts: list[str | None] = []
    for row in batch:
        fields = json.loads(row[0]) if row and row[0] is not None else None
        texts.append(None if fields is None else fields.get("output") or "!" + fields["error"]["kind"])
    return texts


def test_order_is_kept_and_each_distinct_prompt_is_sent_once(gateway: Gateway) -> None:
    prompts = [f"p{index % 7}" for index in range(50)]
    (batch,) = answers(endpoint(gateway), rows([[ask(prompt)] for prompt in prompts]))
    assert outputs(batch) == [prompt.upper() for prompt in prompts]
    assert sorted(gateway.prompts) == sorted(set(prompts))


def test_a_run_of_equal_prompts_over_many_batches_is_sent_once(gateway: Gateway) -> None:
    prompts = [*"aabbbbbbbbcc", "bad", "bad", "bad"]
    batches = [rows([[ask(prompt)] for prompt in prompts[start : start + 3]]) for start in range(0, len(prompts), 3)]
    texts = [text for batch in answers(endpoint(gateway), *batches) for text in outputs(batch)]
    assert texts == [*"AABBBBBBBBCC", *["!context_length_exceeded"] * 3]
    assert sorted(gateway.prompts) == ["a", "b", "bad", "c"]


def test_null_rows_null_elements_and_null_instructions_are_null(gateway: Gateway) -> None:
    (batch,) = answers(endpoint(gateway), rows([None, [], [None], [ask(None)], [ask("a"), ask("b")]]))
    assert batch[:4] == [None, [], [None], [None]]
    assert batch[4] is not None
    assert [json.loads(str(text))["output"] for text in batch[4]] == ["A", "B"]
    assert gateway.prompts == ["a", "b"]


def test_a_sliced_arrow_array_keeps_its_rows(gateway: Gateway) -> None:
    array = rows([[ask("a")], None, [ask("b")], [ask("c")]]).slice(1, 2)
    (batch,) = answers(endpoint(gateway), array)
    assert outputs(batch) == [None, "B"]


def test_one_bad_row_is_one_row_with_an_error(gateway: Gateway) -> None:
    (batch,) = answers(endpoint(gateway), rows([[ask("a")], [ask("bad")], [ask("")], [ask("b")]]))
    assert outputs(batch) == ["A", "!context_length_exceeded", "!empty_prompt", "B"]


def test_requests_are_read_ahead_but_the_window_is_bounded(gateway: Gateway) -> None:
    gateway.seconds = 0.05
    batches = [rows([[ask(f"{batch}-{row}")] for row in range(6)]) for batch in range(8)]
    got = answers(endpoint(gateway), *batches)
    assert [outputs(batch) for batch in got] == [[f"{b}-{row}" for row in range(6)] for b in range(8)]
    assert gateway.most_under_way == 3


def test_rows_with_other_parameters_go_in_other_requests(gateway: Gateway) -> None:
    answers(endpoint(gateway), rows([[ask("a")], [ask("b", temperature="1")], [ask("c")]]))
    assert {(request["temperature"], len(request["messages"])) for request in gateway.requests} == {(0.0, 2), (1.0, 1)}


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_gateway_is_asked_again(gateway: Gateway, status: int) -> None:
    gateway.script.append((status, b"{}", {"Retry-After": "0"}))
    (batch,) = answers(endpoint(gateway), rows([[ask("a")]]))
    assert outputs(batch) == ["A"]
    assert len(gateway.requests) == 2


@pytest.mark.parametrize("content", [b"nonsense", b'{"choices": []}', b"[]", b'{"choices": [{"index": 7}]}'])
def test_garbage_is_an_error_of_its_rows(gateway: Gateway, content: bytes) -> None:
    gateway.script.append((200, content, {}))
    (batch,) = answers(endpoint(gateway), rows([[ask("a")]]))
    assert outputs(batch) == ["!bad_response"]


def test_a_refused_batch_is_an_error_of_its_rows(gateway: Gateway) -> None:
    gateway.script.append((400, b'{"error": {"message": "temperature must be >= 0"}}', {}))
    (batch,) = answers(endpoint(gateway), rows([[ask("a", temperature="-1")], [ask("b")]]))
    assert sorted(str(text) for text in outputs(batch)) == ["!invalid_request", "B"]


def test_a_model_that_is_gone_stops_the_query(gateway: Gateway) -> None:
    gateway.script.append((404, b'{"error": {"message": "no model m"}}', {}))
    with pytest.raises(ModelError, match="no model m"):
        answers(endpoint(gateway), rows([[ask("a")]]))


def test_a_gateway_that_cannot_be_reached_stops_the_query() -> None:
    nowhere = Endpoint(url="http://127.0.0.1:9", model="m", retry_seconds=0)
    with pytest.raises(ModelError, match="did not answer after 1 tries"):
        answers(nowhere, rows([[ask("a")]]))


def test_a_slow_answer_is_an_error_of_its_rows(gateway: Gateway) -> None:
    gateway.seconds = 1
    (batch,) = answers(replace(endpoint(gateway), timeout=0.2), rows([[ask("a")]]))
    assert outputs(batch) == ["!timeout"]


def test_closing_early_leaves_nothing_under_way(gateway: Gateway) -> None:
    def batches() -> Iterator[pa.Array]:
        for index in range(1000):
            yield rows([[ask(f"p{index}")]])

    answering = answer_batches(endpoint(gateway), batches())
    next(answering)
    answering.close()  # type: ignore[attr-defined]  # it is a generator, which Spark closes when a query is stopped
    assert len(gateway.prompts) < 50


def test_the_key_is_sent_and_never_shown(gateway: Gateway) -> None:
    secret = replace(endpoint(gateway), api_key="s3cret")
    assert "s3cret" not in repr(secret)
