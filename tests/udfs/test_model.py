"""Batches against a real HTTP server; no Spark."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from sqlllm.errors import LimitError, ModelError
from sqlllm.udfs import batching
from sqlllm.udfs.calling import Slots
from sqlllm.udfs.model import answer_batches
from sqlllm.udfs.transport import Endpoint

from .gateway import Gateway, serve


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


def test_a_task_remembers_what_it_asked_as_far_as_memory_is_set_aside(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [rows([[ask(f"p{(5 * batch + row) % 20}")] for row in range(5)]) for batch in range(12)]
    answers(endpoint(gateway), *batches)
    assert sorted(gateway.prompts) == sorted(f"p{number}" for number in range(20))
    gateway.requests.clear()
    monkeypatch.setattr(batching, "_REMEMBERED", 10 * len(ask("p1")))
    got = answers(endpoint(gateway), *batches)
    assert [outputs(batch) for batch in got] == [[f"P{(5 * b + row) % 20}" for row in range(5)] for b in range(12)]
    assert len(gateway.prompts) > 20


def test_prompts_that_begin_alike_are_sent_together(gateway: Gateway) -> None:
    prompts = [f"{start} {number}" for number in range(8) for start in ("you", "they", "we")]
    (batch,) = answers(endpoint(gateway), rows([[ask(prompt)] for prompt in prompts]))
    assert outputs(batch) == [prompt.upper() for prompt in prompts]
    sent = [{messages[-1]["content"].split()[0] for messages in request["messages"]} for request in gateway.requests]
    assert [len(starts) for starts in sent] == [1] * 6


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


@pytest.mark.parametrize(("status", "content"), [(429, b"{}"), (503, b"{}"), (500, b"Internal Server Error")])
def test_a_gateway_that_cannot_answer_now_is_asked_again(gateway: Gateway, status: int, content: bytes) -> None:
    gateway.script.append((status, content, {"Retry-After": "0"}))
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
    refused, answered = sorted(str(text) for text in outputs(batch))  # whichever of the two came first
    assert (refused, answered in ("A", "B")) == ("!invalid_request", True)


def test_an_engine_that_fails_is_an_error_of_its_rows(gateway: Gateway) -> None:
    said = b'{"error": {"message": "model m failed: KeyError()", "type": "server_error", "param": null, "code": null}}'
    gateway.script.append((500, said, {}))
    (batch,) = answers(endpoint(gateway), rows([[ask("a")]]))
    assert outputs(batch) == ["!invalid_request"]
    assert len(gateway.requests) == 1


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


def test_the_next_batch_of_rows_begins_before_the_last_one_has_ended(gateway: Gateway) -> None:
    gateway.holds["0-9"] = "1-0"  # the last that is sent
    batches = [rows([[ask(f"{batch}-{row}")] for row in range(40)]) for batch in range(2)]
    got = answers(endpoint(gateway), *batches)
    assert [outputs(batch) for batch in got] == [[f"{b}-{row}" for row in range(40)] for b in range(2)]


def test_a_busy_gateway_gets_fewer_at_a_time_and_then_more(gateway: Gateway) -> None:
    async def check() -> None:
        slots, inside, seen = Slots(8), 0, list[int]()

        async def work() -> None:
            nonlocal inside
            async with slots.slot():
                inside += 1
                seen.append(inside)
                await asyncio.sleep(0.001)
                inside -= 1

        slots.shrink()
        slots.shrink()
        await asyncio.gather(*(work() for _ in range(50)))
        assert seen[:2] == [1, 2]
        assert max(seen[:3]) <= 3
        assert max(seen) == 8

    asyncio.run(asyncio.wait_for(check(), 30))
    gateway.script.extend([(429, b"{}", {"Retry-After": "0"})] * 3)
    patient = replace(endpoint(gateway), retry_seconds=0)  # a busy gateway is not a broken one
    (batch,) = answers(patient, rows([[ask("a")]]))
    assert outputs(batch) == ["A"]


def test_a_query_that_may_not_fail_stops_at_the_first_row_that_does(gateway: Gateway) -> None:
    strict = replace(endpoint(gateway), fails=True)
    with pytest.raises(ModelError, match="a row has no answer: context_length_exceeded: too long"):
        answers(strict, rows([[ask("a")], [ask("bad")]]))
    with pytest.raises(ModelError, match="empty_prompt"):
        answers(strict, rows([[ask("")]]))
    (batch,) = answers(strict, rows([[ask(None)], [ask("b")]]))
    assert outputs(batch) == [None, "B"]


def test_a_prompt_that_is_too_long_is_cut_if_that_is_asked(gateway: Gateway) -> None:
    gateway.context = 100
    long = "".join(chr(97 + number % 26) for number in range(350))
    asked = rows([[ask("a")], [ask(long)], [ask("b")]])
    (batch,) = answers(endpoint(gateway), asked)
    assert outputs(batch) == ["A", "!context_length_exceeded", "B"]
    gateway.requests.clear()
    (batch,) = answers(replace(endpoint(gateway), overlong="truncate"), asked)
    first, cut, last = outputs(batch)
    assert (first, last) == ("A", "B")
    assert cut is not None
    assert long.upper().startswith(cut)
    assert 75 <= len(cut) <= 100
    assert batch[1] is not None
    answer = json.loads(str(batch[1][0]))
    assert answer["metadata"]["truncated"] is True
    assert answer["input"] == long
    assert gateway.prompts.count("a") == 1  # its neighbours are not asked again


def test_another_model_gets_the_rows_that_failed(gateway: Gateway) -> None:
    other = replace(endpoint(gateway), fallback="patient")
    (batch,) = answers(other, rows([[ask("a")], [ask("bad one")], [ask("")]]))
    assert outputs(batch) == ["A", "BAD ONE", "!empty_prompt"]
    assert batch[1] is not None
    assert json.loads(str(batch[1][0]))["metadata"]["model"] == "patient"
    assert [(request["model"], len(request["messages"])) for request in gateway.requests] == [("m", 2), ("patient", 1)]


def test_another_model_gets_the_rows_whose_answer_is_not_of_the_asked_type(gateway: Gateway) -> None:
    said = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in enumerate(("about seven", "8", "no number either"))  # sorted prompts
    ]
    gateway.script.append((200, json.dumps({"choices": said}).encode(), {}))
    asked = rows([[ask(text, returns="int")] for text in ("8", "7", "seven")])
    (batch,) = answers(replace(endpoint(gateway), fallback="patient"), asked)
    eight, seven, none = (json.loads(str(row and row[0])) for row in batch)
    assert (eight["output"], seven["output"]) == ("8", "7")
    assert seven["metadata"]["model"] == "patient"
    assert none["error"]["kind"] == "unreadable_answer"
    assert none["raw"] == "SEVEN"
    assert [request["model"] for request in gateway.requests] == ["m", "patient"]


def test_another_model_is_asked_at_the_gateway_that_has_it(gateway: Gateway) -> None:
    with serve() as beside:
        other = replace(endpoint(gateway), fallback="patient", fallback_url=beside.url)
        (batch,) = answers(other, rows([[ask("a")], [ask("bad one")]]))
    assert outputs(batch) == ["A", "BAD ONE"]
    assert [[request["model"] for request in one.requests] for one in (gateway, beside)] == [["m"], ["patient"]]


def test_another_model_gets_all_rows_if_the_first_is_gone(gateway: Gateway) -> None:
    gateway.script.append((404, b'{"error": {"message": "no model m"}}', {}))
    (batch,) = answers(replace(endpoint(gateway), fallback="patient"), rows([[ask("a")], [ask("b")]]))
    assert outputs(batch) == ["A", "B"]


def test_a_limit_that_is_reached_stops_the_query_also_with_another_model(gateway: Gateway) -> None:
    said = b'{"error": {"message": "llm.max_calls is 3: ...", "code": "limit_reached"}}'
    for fallback in ("", "patient"):
        gateway.script.append((403, said, {}))
        with pytest.raises(LimitError, match=r"llm.max_calls is 3") as caught:
            answers(replace(endpoint(gateway), fallback=fallback), rows([[ask("a")]]))
        assert "Run it again" in caught.value.cure


def test_a_task_reports_what_it_has_done(gateway: Gateway) -> None:
    gateway.script.append((503, b"{}", {}))
    told = replace(endpoint(gateway), query='{"id": "q"}')
    answers(told, rows([[ask("a")], [ask("a")], None, [ask("bad")], [None]]))
    assert gateway.reports == [{"model": "m", "part": [0, 0], "rows": 4, "failed": 1, "retried": 1}]
    answers(endpoint(gateway), rows([[ask("a")]]))
    assert len(gateway.reports) == 1


def test_a_refused_report_is_logged(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway.refuses_reports = True
    assert outputs(answers(replace(endpoint(gateway), query='{"id": "q"}'), rows([[ask("a")]]))[0]) == ["A"]
    assert "rows of model m are not counted: not yours" in caplog.text


def test_closing_early_leaves_nothing_under_way(gateway: Gateway) -> None:
    def batches() -> Iterator[pa.Array]:
        for index in range(1000):
            yield rows([[ask(f"p{index}")]])

    answering = answer_batches(endpoint(gateway), batches())
    next(answering)
    answering.close()  # type: ignore[attr-defined]  # it is a generator, which Spark closes when a query is stopped
    assert len(gateway.prompts) < 50


def test_where_few_rows_may_do_few_are_asked_at_first(gateway: Gateway) -> None:
    prompts = [f"p{index}" for index in range(60)]
    answering = answer_batches(replace(endpoint(gateway), first=2), iter([rows([[ask(prompt)] for prompt in prompts])]))
    said = outputs(next(answering).to_pylist())
    assert sorted(gateway.prompts) == ["p0", "p1"]
    said += outputs(next(answering).to_pylist())
    assert len(gateway.prompts) == 6
    said += [text for batch in answering for text in outputs(batch.to_pylist())]
    assert said == [prompt.upper() for prompt in prompts]
    assert sorted(gateway.prompts) == sorted(prompts)


def test_the_key_is_sent_and_never_shown(gateway: Gateway) -> None:
    secret = replace(endpoint(gateway), api_key="s3cret")
    assert "s3cret" not in repr(secret)
