"""The life of a deployment: how many workers it has, where, which of them is asked, and how it is replaced."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from sqlllm.errors import ModelError, OptionError
from sqlllm.jobs.serving import Autoscale, ModelSpec, Serving

from .conftest import user

pytestmark = pytest.mark.slow


def oracle(name: str, function: str = "upper", **more: object) -> ModelSpec:
    options = {"function": f"tests.serving.oracles:{function}"}
    return ModelSpec.parse(name=name, engine="oracle", model_path="", engine_options=options, **more)


@pytest.fixture
def deploy(serving: Serving) -> Iterator[Callable[[ModelSpec], None]]:
    """Deploys for one test."""
    names = []

    def one(spec: ModelSpec) -> None:
        names.append(spec.name)
        serving.deploy(spec)

    yield one
    for name in names:
        serving.undeploy(name)


def ask(http: httpx.Client, model: str, text: str) -> str:
    reply = http.post("/v1/chat/completions", json={"model": model, "messages": user(text), "temperature": 0})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def refused(http: httpx.Client, model: str) -> str:
    """The error of a model that is not available; empty while it may become so."""
    with suppress(httpx.ReadTimeout):
        reply = http.post("/v1/completions", json={"model": model, "prompt": "who"}, timeout=2)
        assert reply.status_code == 503
        if "is not available:" in (words := str(reply.json()["error"]["message"])):
            return words
    return ""


@contextmanager
def asking(http: httpx.Client, model: str, text: str = "Hello") -> Iterator[list[str]]:
    """Ask all the while; gives the answers so far. A request that fails fails the test."""
    answers: list[str] = []
    failures: list[Exception] = []
    done = threading.Event()

    def go_on() -> None:
        try:
            while not done.is_set():
                answers.append(ask(http, model, text))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures


def test_other_files_are_another_model(
    serving: Serving, http: httpx.Client, deploy: Callable[[ModelSpec], None], tmp_path: Path
) -> None:
    table = tmp_path / "answers.jsonl"

    def answers(text: str) -> ModelSpec:
        table.write_text(json.dumps({"prompt": "who", "answer": text}))
        return ModelSpec(name="table", engine="oracle", model_path=str(table))

    deploy(answers("one"))
    assert ask(http, "table", "who") == "one"
    assert serving.deploy(answers("one")).seconds == 0  # nothing is new
    with asking(http, "table", "who") as said:
        assert serving.deploy(answers("two")).seconds > 0
    assert set(said) <= {"one", "two"}
    assert ask(http, "table", "who") == "two"

    answers("three")  # and nobody deploys it
    (worker,) = serving.workers("table")
    psutil.Process(worker.pid).kill()
    while not (told := refused(http, "table")):
        pass
    assert "have changed since the model was deployed; deploy it again" in told
    assert serving.deploy(answers("three")).seconds > 0
    assert ask(http, "table", "who") == "three"


@pytest.mark.parametrize("room", [True, pytest.param(False, marks=pytest.mark.rare)])
def test_no_request_fails_while_a_model_is_replaced(
    serving: Serving,
    http: httpx.Client,
    deploy: Callable[[ModelSpec], None],
    monkeypatch: pytest.MonkeyPatch,
    room: bool,
) -> None:
    if not room:
        monkeypatch.setattr(Serving, "_lacks_room", lambda *_: True)
    deploy(oracle("rolling", replicas=2))
    with asking(http, "rolling") as answers:
        deploy(oracle("rolling", "lower"))
        before = len(answers)
        while len(answers) < before + 10:
            continue
    assert answers[0] == "HELLO"
    assert set(answers[before + 3 :]) == {"hello"}  # the new one alone, but for what was on its way
    assert [row.replicas for row in serving.models() if row.name == "rolling"] == [1]


def test_what_does_not_load_leaves_the_old_model_as_it_was(
    serving: Serving, http: httpx.Client, deploy: Callable[[ModelSpec], None]
) -> None:
    deploy(oracle("stays"))
    with asking(http, "stays") as answers, pytest.raises(ModelError, match=r"model stays did not load: .*is not there"):
        deploy(oracle("stays", "nowhere"))
    assert set(answers) == {"HELLO"}
    while serving.find("stays").state != "RUNNING":
        continue
    assert serving.deploy(oracle("stays")).seconds == 0  # it is known as what it is
    assert ask(http, "stays", "Hello") == "HELLO"


@pytest.mark.rare  # it waits for Serve's autoscaler
def test_a_model_without_work_goes_to_sleep_and_a_request_wakes_it(
    serving: Serving, http: httpx.Client, deploy: Callable[[ModelSpec], None]
) -> None:
    scale = Autoscale(min_workers=0, max_workers=2, idle_seconds=1)
    spec = oracle("sleeper", autoscale=scale)
    deploy(spec)
    assert ask(http, "sleeper", "Hello") == "HELLO"
    while (found := serving.find("sleeper")).state != "IDLE":
        assert found.state in ("RUNNING", "DEPLOYING")
    assert found.replicas == 0
    assert serving.workers("sleeper") == []
    assert serving.counts("sleeper") == {}
    serving.deploy(spec, pytest.fail)  # the same again: not even that wakes it
    told = http.get("/v1/models/sleeper").json()
    assert (told["workers"], told["spec"]) == (0, spec.shown())
    assert serving.find("sleeper").state == "IDLE"
    deploy(oracle("sleeper", "lower", autoscale=scale))  # another one: it has to show that it loads
    assert ask(http, "sleeper", "Hello") == "hello"


@pytest.mark.parametrize(("load_balance", "shares"), [("round_robin", [6, 6]), ("prefix", [0, 12])])
def test_which_worker_is_asked(
    serving: Serving,
    http: httpx.Client,
    deploy: Callable[[ModelSpec], None],
    load_balance: str,
    shares: list[int],
) -> None:
    deploy(oracle("shared", replicas=2, load_balance=load_balance))
    conversation = user("Hello")
    for turn in range(12):
        reply = http.post("/v1/chat/completions", json={"model": "shared", "messages": conversation}).json()
        conversation += [reply["choices"][0]["message"], *user(f"And {turn}?")]
    assert sorted(worker.requests for worker in serving.workers("shared")) == shares
    assert all(worker.under_way == 0 and worker.pid for worker in serving.workers("shared"))


def test_a_resource_that_no_node_has_is_named(serving: Serving) -> None:
    with pytest.raises(ModelError, match=r"needs 0\.01 of the resource master and the cluster has 0") as raised:
        serving.deploy(oracle("placed", resources={"master": 0.01}))
    assert "ray start --resources" in raised.value.cure


def test_a_model_that_is_not_there_cannot_be_found(serving: Serving, deploy: Callable[[ModelSpec], None]) -> None:
    deploy(oracle("there"))
    with pytest.raises(ModelError, match="there is no model ther to reconnect to") as raised:
        serving.find("ther")
    assert "Did you mean there?" in raised.value.cure


def test_a_model_answers_to_its_other_names_and_no_other_model_may_have_them(
    serving: Serving, http: httpx.Client, deploy: Callable[[ModelSpec], None]
) -> None:
    deploy(oracle("named", aliases="gpt-4o, org/gpt"))
    for name in ("named", "gpt-4o", "org/gpt"):
        assert ask(http, name, "Hello") == "HELLO"
        assert http.get(f"/v1/models/{name}").json()["spec"]["name"] == "named"
        batch = {"model": name, "messages": [user("Hello"), user("Bye")], "temperature": 0}
        reply = http.post("/v1/chat/completions/batch", json=batch).json()
        assert [choice["message"]["content"] for choice in reply["choices"]] == ["HELLO", "BYE"]
        assert reply["model"] == "named"
    assert {"named", "gpt-4o", "org/gpt"} <= {card["id"] for card in http.get("/v1/models").json()["data"]}
    for other in (oracle("gpt-4o"), oracle("other", aliases="named")):
        with pytest.raises(OptionError, match="is a name of the model named"):
            serving.deploy(other)


def test_limits_of_workers_are_in_order() -> None:
    with pytest.raises(OptionError, match="min_workers 3 is more than max_workers 2"):
        oracle("x", autoscale={"min_workers": 3, "max_workers": 2})
