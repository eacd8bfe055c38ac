"""Functions that a model writes: asked for once, run confined, checked, off unless allowed."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated

import pydantic
import pytest

from sqlllm.client import LLM
from sqlllm.client.confined import run
from sqlllm.errors import AnswerError, ForbiddenError, ModelError
from tests.client.server import Server


class Day(pydantic.BaseModel):
    day: str = pydantic.Field(description="as 2024-01-31")


GOOD = """Sure:
```python
import datetime

def next_day(current, days=1):
    '''Next.'''
    return {"day": (current + datetime.timedelta(days=days)).strftime("%Y-%m-%d")}
```
"""


@pytest.fixture(autouse=True)
def _fresh(llm: LLM) -> Iterator[None]:
    llm.clear_impl_cache()
    yield
    llm.clear_impl_cache()


def next_day(current: Annotated[datetime.date, "the day"], days: int = 1) -> Day:  # type: ignore[empty-body]
    """The day, a number of days later."""


def test_a_body_is_written_once_and_its_result_is_of_the_type(server: Server, llm: LLM) -> None:
    server.say(GOOD, GOOD)
    made = llm.impl(allow=True)(next_day)
    assert made(datetime.date(2024, 2, 28)) == Day(day="2024-02-29")
    assert made(datetime.date(2024, 2, 28), days=2) == Day(day="2024-03-01")
    assert "def next_day" in made.code()
    assert len(server.asked) == 1
    asked = server.asked[0].last
    assert "def next_day(current:" in asked
    assert "The day, a number of days later." in asked
    assert '"as 2024-01-31"' in asked
    llm.clear_impl_cache()
    made(datetime.date(2024, 1, 1))
    assert len(server.asked) == 2


def test_it_is_off_unless_it_is_allowed(server: Server, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ForbiddenError, match="may not run"):
        llm.impl()(next_day)(datetime.date(2024, 1, 1))
    assert not server.asked
    monkeypatch.setenv("SQLLLM_ALLOW__PYTHON", "true")
    server.say(GOOD)
    assert llm.impl()(next_day)(datetime.date(2024, 1, 1)).day == "2024-01-02"


def test_code_that_does_not_fit_is_asked_for_again(server: Server, llm: LLM) -> None:
    server.say("I cannot", "```python\nimport numpy\ndef next_day(current, days=1): pass\n```", GOOD)
    assert llm.impl(allow=True)(next_day)(datetime.date(2024, 1, 1)).day == "2024-01-02"
    assert "numpy" in server.bodies[2]["messages"][-1]["content"]
    llm.clear_impl_cache()
    server.say(*["def other(): pass"] * 3)
    with pytest.raises(AnswerError, match="defines no function next_day"):
        llm.impl(allow=True)(next_day)(datetime.date(2024, 1, 1))


def test_a_result_that_is_not_of_the_type_is_an_error(server: Server, llm: LLM) -> None:
    server.say("```python\ndef next_day(current, days=1):\n    return {'date': 3}\n```")
    with pytest.raises(AnswerError, match="not a valid Day"):
        llm.impl(allow=True)(next_day)(datetime.date(2024, 1, 1))


HOSTILE = {
    "socket": ("import socket\ndef f():\n    socket.socket()", "Operation not permitted|Too many open files"),
    "read": ("def f():\n    return open('/etc/passwd').read()", "Too many open files"),
    "parent": ("import os\ndef f():\n    return open(f'/proc/{os.getppid()}/environ').read()", "Too many open files"),
    "kill": ("import os\ndef f():\n    os.kill(os.getppid(), 0)", "Operation not permitted"),
    "fork": ("import os\ndef f():\n    return os.fork()", "Resource temporarily|Operation not permitted"),
    "program": ("import os\ndef f():\n    os.execv('/bin/ls', ['ls'])", "Operation not permitted"),
    "limits": (
        "import resource\ndef f():\n    resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "not allowed to raise|Operation not permitted",
    ),
    "subclasses": (
        "def f():\n    kinds = {k.__name__: k for k in object.__subclasses__()}\n"
        "    return kinds['_wrap_close'].__init__.__globals__['system']('ls > /tmp/x')",
        "value|Operation",
    ),
    "memory": ("def f():\n    return 'x' * 10**10", "MemoryError"),
    "loop": ("def f():\n    while True: pass", "longer than 0.5 s"),
    "power": ("def f():\n    return 9**9**9", "longer than 0.5 s"),
    "exit": ("import os\ndef f():\n    os._exit(0)", "without a result"),
    "crash": ("import ctypes\ndef f():\n    ctypes.string_at(0)", "without a result"),
    "object": ("def f():\n    return len", "not JSON"),
    "deep": ("def f():\n    return f()", "RecursionError"),
}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "subclasses"])
def test_hostile_code_ends_at_its_limits(name: str) -> None:
    code, said = HOSTILE[name]
    with pytest.raises(ModelError, match=said):
        run(code, "f", {"args": [], "kwargs": {}}, ("os", "socket", "ctypes", "resource"), timeout=0.5, memory_mb=300)


def test_walking_the_classes_reaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "k-SECRET")
    status = run(HOSTILE["subclasses"][0], "f", {"args": [], "kwargs": {}})
    assert status != 0
    assert run("import os\ndef f():\n    return dict(os.environ)", "f", {"args": [], "kwargs": {}}) == {
        "LANG": "C.UTF-8"
    }


def test_arguments_keep_their_types() -> None:
    code = "def f(a, b, *, c):\n    return [type(a).__name__, a.isoformat(), b['x'], sorted(c)]"
    from sqlllm.client.impl import _plain

    given = _plain({"args": [datetime.datetime(2024, 1, 2, 3), {"x": 1.5}], "kwargs": {"c": {2, 1}}})
    assert run(code, "f", given) == ["datetime", "2024-01-02T03:00:00", 1.5, [1, 2]]
