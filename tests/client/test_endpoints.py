"""Where a client sends its requests, and where its key goes and is not shown."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import subprocess
import traceback
from typing import Any

import pytest

from sqlllm import gateways
from sqlllm.client import LLM
from sqlllm.client.endpoint import Key
from sqlllm.errors import ModelError, OptionError, ProviderError
from tests.client.server import Server, sends, serve

KEY = "k-SECRET-1234"


def test_an_address_without_a_server_is_an_error() -> None:
    with pytest.raises(ProviderError, match="no connection"):
        LLM("m", "http://127.0.0.1:9", retries=0).chat("Hi")


# Keys, pickles, addresses


def test_the_key_is_nowhere(server: Server, llm: LLM, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(*[sends(503, {"error": {"message": f"bad {KEY}"}})] * 2)
    shown = [repr(llm), repr(llm.endpoint), str(vars(llm)), str(pickle.dumps(llm))]
    try:
        llm.with_(retries=0).chat("Hi")
    except ProviderError as error:
        told = traceback.TracebackException(
            type(error), error, error.__traceback__ and error.__traceback__.tb_next, capture_locals=True
        )
        shown += ["".join(told.format()), repr(error), str(error.to_dict())]
    with_headers = LLM("m", server.url, headers={"api-key": KEY})
    shown += [repr(with_headers), str(vars(with_headers)), str(pickle.dumps(with_headers)), caplog.text]
    assert KEY not in "".join(shown)
    with_headers.chat("Hi")
    assert server.asked[-1].headers["api-key"] == KEY


def test_a_pickled_client_finds_its_key_there_or_fails(
    server: Server, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = pickle.loads(pickle.dumps(llm))
    with pytest.raises(ModelError, match=r"did not travel") as caught:
        again.chat("Hi")
    assert gateways.KEY_VARIABLE in caught.value.cure
    monkeypatch.setenv(gateways.KEY_VARIABLE, "other")
    again.chat("Hi")
    assert server.asked[-1].headers["authorization"] == "Bearer other"
    assert copy.deepcopy(llm).chat("Hi").text == "ok"
    assert server.asked[-1].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("MY_KEY", "third")
    named = pickle.loads(pickle.dumps(LLM("m", server.url, "env:MY_KEY")))
    named.chat("Hi")
    assert server.asked[-1].headers["authorization"] == "Bearer third"


def test_a_user_and_a_password_in_the_address_are_sent_and_not_shown(server: Server) -> None:
    llm = LLM("m", server.url.replace("//", "//ann:p%40ss@"))
    llm.chat("Hi")
    assert server.asked[0].headers["authorization"] == "Basic YW5uOnBAc3M="
    assert "ss" not in repr(llm)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port", "http://x/v1?key=1"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="not a valid address"):
        LLM("m", address)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("http://h:1/", "http://h:1/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions"),
    ],
)
def test_an_address_may_leave_out_v1(address: str, url: str) -> None:
    assert LLM("m", address).endpoint.url("chat/completions") == url


def test_a_gateway_is_found(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    monkeypatch.delenv(gateways.ADDRESS_VARIABLE, raising=False)
    monkeypatch.setattr(gateways, "_here", {})  # sessions of other tests in this process have gateways
    llm = LLM("m")
    with pytest.raises(ModelError, match="no gateway") as caught:
        llm.chat("Hi")
    assert "sqlllm up" in caught.value.cure
    root = server.url.removesuffix("/v1")
    gateways.leave(gateways.Found(root, "of-up", pid=os.getpid()))
    assert gateways.record().stat().st_mode & 0o777 == 0o600
    llm.chat("Hi")
    gateways.opened(gateways.Found(root, "of-session"))
    llm.chat("Hi")
    gateways.closed(root)
    monkeypatch.setenv(gateways.ADDRESS_VARIABLE, server.url)
    monkeypatch.setenv(gateways.KEY_VARIABLE, "of-variable")
    llm.chat("Hi")
    monkeypatch.delenv(gateways.ADDRESS_VARIABLE)
    assert [one.headers["authorization"] for one in server.asked] == [
        f"Bearer {name}" for name in ("of-up", "of-session", "of-variable")
    ]
    ended = subprocess.Popen(["true"])
    ended.wait()
    gateways.leave(gateways.Found(root, pid=ended.pid))
    with pytest.raises(ModelError, match="no gateway"):
        llm.chat("Hi")


def test_a_key_compares_by_value_and_is_false_when_empty() -> None:
    assert (Key("a") == Key("a"), bool(Key())) == (True, False)


# Other routes


def test_two_servers_share_a_process() -> None:
    with serve() as one, serve() as two:
        assert LLM("m", one.url).chat("a").text == LLM("m", two.url).chat("b").text == "ok"


def test_a_key_from_a_file_loses_its_line_break_and_a_broken_one_is_refused(server: Server) -> None:
    LLM("m", server.url, "k-1234\n").chat("Hi")
    assert server.asked[0].headers["authorization"] == "Bearer k-1234"
    for broken in ("k-12\n34", "k-钥匙"):
        with pytest.raises(OptionError, match="not a valid key") as caught:
            LLM("m", server.url, broken)
        assert broken not in str(caught.value)
