"""Where the model of `llm.fallback` is asked."""

from __future__ import annotations

import pytest

from sqlllm.session import Session
from sqlllm.session.models import Model
from sqlllm.settings import Settings
from sqlllm.udfs.transport import Endpoint


@pytest.mark.parametrize(
    ("fallback", "url"), [("There", "http://127.0.0.1:2"), ("alias", "http://127.0.0.1:2"), ("elsewhere", ""), ("", "")]
)
def test_a_fallback_is_asked_where_it_is_deployed(fallback: str, url: str) -> None:
    session = Session(Settings(llm={"fallback": fallback}))  # type: ignore[arg-type]
    for name, port in (("here", 1), ("there", 2)):
        endpoint = Endpoint(f"http://127.0.0.1:{port}", name)
        session.models._models[name] = Model(name, endpoint, aliases=("alias",) if port == 2 else ())
    asked = session.meter.endpoint("here", "select 1")
    assert asked is not None
    assert (asked.url, asked.fallback, asked.fallback_url) == ("http://127.0.0.1:1", fallback, url)
