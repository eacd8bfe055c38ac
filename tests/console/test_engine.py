"""Scripts over HTTP, by a real server on a real Spark."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx
import pytest
import uvicorn

from sqlllm.console.engine import Engine, application, jobs
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow
LONG = "select sum(a.id * b.id % 7) as n from range(10000000000) a cross join range(10000) b as t;"


@pytest.fixture(scope="module")
def address(spark: SparkSession) -> Iterator[str]:
    engine = Engine(Settings(), spark, at_once=2, waiting=1)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application(engine, {"key-of-all": "*", "key-of-al": "al"}), log_level="warning")
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    engine.close()
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer key-of-all"}
    with httpx.Client(base_url=address, headers=headers, timeout=240, trust_env=False) as client:
        yield client


def run(client: httpx.Client, sql: str, **parameters: str) -> Any:
    return client.post("/run/script", data={"sql": sql, **parameters})


def until(client: httpx.Client, job: str, *states: str) -> dict[str, Any]:
    """The job, once it is in one of `states`; the time limit of the test ends a wait without success."""
    while True:
        told: dict[str, Any] = client.get(f"/jobs/{job}").json()
        if told["state"] in states:
            return told
        time.sleep(0.05)


def test_the_rows_of_the_last_table_come_back(client: httpx.Client) -> None:
    answer = run(client, "select id, array(1.5D) as a, null as n from range(3) as t;", outputSize="2")
    assert answer.json() == [{"id": 0, "a": [1.5], "n": None}, {"id": 1, "a": [1.5], "n": None}]
    told = run(client, "select count(*) as n from t as u;", includeSchema="true", fetchType="collect").json()
    assert told["data"] == [{"n": 3}]
    assert told["schema"]["fields"][0]["name"] == "n"
    assert client.post("/run/script", json={"sql": "select 1 as a as t;", "silence": True}).json() == []
    assert client.get("/check", headers={"Authorization": ""}).json() == {"status": "ok"}


def test_sessions_are_their_owners(client: httpx.Client) -> None:
    assert run(client, "select 1 as a as mine;", owner="bo").status_code == 200
    assert run(client, "select a from mine as t;", owner="bo").json() == [{"a": 1}]
    assert "no table mine" in run(client, "select a from mine as t;", owner="cy").json()["message"]
    assert run(client, "select a from mine as t;", owner="bo", sessionPerRequest="true").status_code == 400
    assert run(client, "select '${OWNER}' as o as t;", owner="bo").status_code == 200
    al = {"Authorization": "Bearer key-of-al"}
    assert client.post("/run/script", data={"sql": "select 1 as a as t;", "owner": "bo"}, headers=al).status_code == 403
    refused = client.post("/run/script", data={"sql": "select 1;"}, headers={"Authorization": "Bearer no"})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_variables_are_for_one_request(client: httpx.Client) -> None:
    script = 'set day = "none"; select "${day}" as day as t;'
    assert run(client, script, **{"set.day": "2026-01-02"}).json() == [{"day": "2026-01-02"}]
    assert run(client, script).json() == [{"day": "none"}]
    refused = run(client, script, **{"set.allow.python": "true"})
    assert refused.status_code == 400
    assert "no request changes" in refused.json()["message"]


def test_errors_have_their_place(client: httpx.Client) -> None:
    answer = run(client, "select 1 as a as t;\nselect b from t as u;")
    assert answer.status_code == 400
    assert (answer.json()["line"], answer.json()["column"]) == (2, 8)
    several = run(client, "selec 1;\nlod x;").json()
    assert [error["line"] for error in several["errors"]] == [1, 2]
    assert run(client, "--%python\nprint(1)").status_code == 403
    listed = run(client, "select 1 as a as t;\nsave t as csv.`x`;", executeMode="analyze").json()
    assert [(one["statement"], one["line"]) for one in listed] == [("Select", 1), ("Save", 2)]


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ("jobType", "stream", "can only be script"),
        ("skipAuth", "false", "can only be true"),
        ("allPathPrefix", "{}", "not supported"),
        ("context.x", "1", "not supported"),
        ("executeMode", "autoSuggest", "'query' or 'analyze'"),
        ("outputsize", "1", "unknown parameter"),
        ("timeout", "soon", "valid integer"),
        ("callback", "http://127.0.0.1", "needs async"),
    ],
)
def test_what_cannot_be_done_is_refused(client: httpx.Client, parameter: str, value: str, reason: str) -> None:
    answer = run(client, "select 1 as a as t;", **{parameter: value})
    assert answer.status_code == 400
    assert reason in answer.json()["message"]


def test_a_timeout_ends_the_query_and_not_the_session(client: httpx.Client) -> None:
    run(client, "select 42 as a as before_it;", owner="di")
    answer = run(client, LONG, owner="di", timeout="1500")
    assert answer.status_code == 504
    assert "timeout of 1.5 s" in answer.json()["message"]
    assert run(client, "select a from before_it as t;", owner="di").json() == [{"a": 42}]


def test_a_job_is_followed_and_cancelled(client: httpx.Client) -> None:
    started = run(client, LONG, owner="ed", jobName="nightly", **{"async": "true"})
    assert started.status_code == 202
    job = started.json()["groupId"]
    until(client, job, "running")
    again = run(client, LONG, owner="ed", jobName="nightly", **{"async": "true"})
    assert "nightly is under way" in again.json()["message"]
    assert [one["jobName"] for one in client.get("/runningjobs").json()] == ["nightly"]
    assert client.get("/runningjobs", headers={"Authorization": "Bearer key-of-al"}).json() == []
    waiting = run(client, LONG, owner="ed", **{"async": "true"}).json()["groupId"]  # behind it, in one session
    run(client, LONG, owner="fi", jobName="third", **{"async": "true"})
    assert run(client, "select 1 as a as t;").status_code == 429
    for name in ({"groupId": waiting}, {"jobName": "nightly"}, {"jobName": "third"}):
        assert client.post("/killjob", data=name).status_code == 200
    assert until(client, waiting, "cancelled")["error"]["message"] == "the job was cancelled"
    assert until(client, job, "cancelled")["error"]["error"] == "Cancelled"
    while client.get("/runningjobs").json():
        time.sleep(0.05)
    assert client.post("/killjob", data={"jobName": "nightly"}).status_code == 404


def test_a_client_that_goes_away_cancels_its_script(client: httpx.Client, address: str) -> None:
    with (
        httpx.Client(base_url=address, headers=client.headers, trust_env=False) as leaving,
        pytest.raises(httpx.ReadTimeout),
    ):
        leaving.post("/run/script", data={"sql": LONG, "owner": "gi"}, timeout=1)
    while client.get("/runningjobs").json():
        time.sleep(0.05)
    assert run(client, "select 1 as a as t;", owner="gi").json() == [{"a": 1}]


def test_sessions_and_jobs_without_requests_are_dropped(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def job(sql: str) -> dict[str, Any]:
        id = run(client, sql, owner="hu", **{"async": "true"}).json()["groupId"]  # noqa: A001
        return until(client, id, "succeeded")

    answered = run(client, "select 1 as a as kept;", owner="hu")
    assert client.get(f"/jobs/{answered.headers['X-Job']}").json()["result"] is None  # it has them
    first = job("select a from kept as u;")
    assert first["result"] == [{"a": 1}]
    monkeypatch.setattr(jobs, "BYTES", 10)
    second = job("select a from kept as v;")
    told = [client.get(f"/jobs/{one['groupId']}").json()["result"] for one in (first, second)]
    assert told == [None, [{"a": 1}]]
    monkeypatch.setattr(jobs, "KEPT", 0.0)
    assert run(client, "select 1 as a as t;", owner="ix").json() == [{"a": 1}]
    monkeypatch.setattr(jobs, "KEPT", 3600.0)
    assert client.get(f"/jobs/{second['groupId']}").status_code == 404
    assert "no table kept" in run(client, "select a from kept as t;", owner="hu").json()["message"]


def test_the_outcome_is_called_back(client: httpx.Client) -> None:
    taken: list[tuple[str, dict[str, list[str]]]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            taken.append((self.headers["X-Of"], parse_qs(body)))
            self.send_response(503 if len(taken) == 1 else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Taker) as taker:
        callback = {"callback": f"http://127.0.0.1:{taker.server_port}/", "callbackHeader": '{"X-Of": "me"}'}
        run(client, "select 7 as n as t;", **{"async": "true"}, **callback)
        taker.handle_request()
        taker.handle_request()
    of, form = taken[1]
    assert (of, form["stat"], json.loads(form["res"][0])) == ("me", ["succeeded"], [{"n": 7}])
    assert json.loads(form["jobInfo"][0])["state"] == "succeeded"


def test_predict_asks_for_the_rows_of_the_request(client: httpx.Client) -> None:
    def predict(sql: str, data: Any, kind: str) -> httpx.Response:
        return client.post("/model/predict", data={"sql": sql, "data": json.dumps(data), "dataType": kind})

    assert predict("select upper(feature) as selected", ["a select", "b"], "string").json() == [
        {"selected": "A SELECT"},
        {"selected": "B"},
    ]
    assert predict("select aggregate(feature, 0D, (x, y) -> x + y) as s", [[1, 2.5]], "vector").json() == [{"s": 3.5}]
    assert predict("select a + b as c", [{"a": 1, "b": 2}], "row").json() == [{"c": 3}]
    assert "without `from`" in predict("select 1 from t", ["a"], "string").json()["message"]
    assert "arrays of numbers" in predict("select feature", ["a"], "vector").json()["message"]
    assert predict("select nothing as n", ["a"], "string").status_code == 400


def test_the_manuals_example_runs(address: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "console" / "http.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    environment = {**os.environ, "ENGINE": address, "KEY": "key-of-all", "NO_PROXY": "127.0.0.1"}
    shown = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0] == (
        "[{'id': 0, 'product': 0}, {'id': 1, 'product': 7}, {'id': 2, 'product': 14}]"
    )
    assert shown.stdout.splitlines()[1].startswith("400 1 8 ")
    assert shown.stdout.splitlines()[2] == "[{'value': 'A'}, {'value': 'B'}]"


def test_the_command_serves_until_it_is_ended(serving: Serving) -> None:
    import ray

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = [sys.executable, "-c", "from sqlllm.console.cli import main; main()", "engine"]
    environment = {**os.environ, "SQLLLM_RAY__ADDRESS": ray.get_runtime_context().gcs_address}
    with subprocess.Popen(
        [*script, f"--port={port}", "--set", "llm.in_flight=3", "--set", "spark.master=local[1]"],
        env=environment, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        assert command.stderr
        told = [command.stderr.readline(), command.stderr.readline()]
        key = told[0].removeprefix("key: ").strip()
        assert told[1] == f"listening on http://127.0.0.1:{port}\n"
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=5), timeout=240
        ) as client:
            asked = {"sql": '!show "conf/llm.in_flight";'}
            assert client.post("/run/script", data=asked).status_code == 401
            answer = client.post("/run/script", data=asked, headers={"Authorization": f"Bearer {key}"})
        assert answer.json() == [{"key": "llm.in_flight", "value": "3"}]
        command.terminate()
        assert command.wait(60) == 0  # a server that is asked to end has done its work
        assert command.stderr.read() == ""
