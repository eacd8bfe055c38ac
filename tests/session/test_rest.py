"""load Rest: what a web address answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sqlllm.errors import ForbiddenError, OptionError, TableError
from sqlllm.session import Session
from sqlllm.session.rest import _at, _seconds

from .cases import rows_of


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.rpartition("=")[2] or 0) if "=" in self.path else 0
            following = f"http://{self.headers['host']}/page?n={number + 1}" if number < 2 else ""
            self._answer(404 if self.path == "/no" else 200, {"n": number, "page": {"next": following}})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer(200, {"body": body, "type": self.headers["content-type"], "x": self.headers["x-key"]})

        def _answer(self, status: int, value: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{started.server_port}"
        started.shutdown()
        thread.join()


def test_a_path_into_json() -> None:
    document = {"a": {"b-c": [{"d": 1}]}}
    assert (_at(document, "$.a.b-c[0].d"), _at(document, "$.a.x"), _at(document, "$.a.b-c[4]")) == (1, None, None)
    with pytest.raises(OptionError, match="is not a path into JSON"):
        _at(document, "a.b")


def test_times() -> None:
    assert [_seconds({"t": text}, "t", 1) for text in ("10s", "500ms", "1.5 s", "2m")] == [10, 0.5, 1.5, 120]
    with pytest.raises(OptionError, match="'10' is not a time"):
        _seconds({"t": "10"}, "t", 1)


@pytest.mark.slow
def test_requests_and_pages(session: Session, server: str) -> None:
    with pytest.raises(ForbiddenError, match="load Rest sends requests"):
        session.run(f"load Rest.`{server}` as t;")
    session.override("allow.http", "true")
    (row,) = rows_of(
        session,
        f"""load Rest.`{server}/` where `config.method`="POST" and `config.connect-timeout`="10s"
        and `header.x-key`="k" and `body`='''{{"a": 1}}''' as t;
        select status, string(content) as content from t as u;""",
    )
    assert row["status"] == 200
    assert json.loads(str(row["content"])) == {"body": '{"a": 1}', "type": "application/json", "x": "k"}
    (row,) = rows_of(
        session,
        f"""load Rest.`{server}/` where `config.method`="post" and `form.a`="1 2" as t;
        select string(content) as c from t as u;""",
    )
    assert json.loads(str(row["c"]))["body"] == "a=1+2"
    pages = f"""load Rest.`{server}/page?n=0` where `config.page.next`="{{0}}" and `config.page.values`="$.page.next"
    and `config.page.limit`="9" as t; select get_json_object(string(content), '$.n') as n from t order by n as u;"""
    assert rows_of(session, pages) == [{"n": "0"}, {"n": "1"}, {"n": "2"}]
    assert rows_of(session, f"load Rest.`{server}/no` as t; select status from t as u;") == [{"status": 404}]
    with pytest.raises(TableError, match="does not answer"):
        session.run("load Rest.`http://127.0.0.1:1/` as t;")
    with pytest.raises(OptionError, match=r"unknown option config.methud"):
        session.run(f'load Rest.`{server}` where `config.methud`="get" as t;')
