"""Who trusts whose certificate; calls of a whole session over HTTPS are in tests/console/test_models.py."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from sqlllm import tls
from sqlllm.errors import SetupError
from sqlllm.settings import Settings, listed
from tests.certificates import write_certificate


class Hello(BaseHTTPRequestHandler):
    """Answers 204."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_client_trusts_the_gateway_s_certificate_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certfile, keyfile = write_certificate(tmp_path)  # for a name that nobody calls it by
    other = tls.read(*map(str, write_certificate(tmp_path / "other")))
    chain = tls.read(str(certfile), str(keyfile))
    certfile.write_text(f"its issuer's text\n{chain}\n{other}\n")  # who signed it may sign others
    known = tls.read(str(certfile))
    assert known == chain
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certfile, keyfile)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}"
        assert httpx.get(url, verify=tls.context(known)).status_code == 204
        for wrong in (other, ""):
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                httpx.get(url, verify=tls.context(wrong))
        server.shutdown()


def test_files_that_are_not_a_certificate_and_its_key_are_named(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certfile, keyfile = map(str, write_certificate(tmp_path))
    other = str(write_certificate(tmp_path / "other")[1])
    with pytest.raises(SetupError, match=r"there is no file .*nowhere.pem"):
        tls.read(certfile, str(tmp_path / "nowhere.pem"))
    for pair in ((certfile, other), (keyfile, keyfile)):
        with pytest.raises(SetupError, match="are not a pair"):
            tls.read(*pair)
    with pytest.raises(SetupError, match="holds no certificate"):
        tls.read(keyfile)


@pytest.mark.parametrize("text", ["https://a.com, https://b.com", '["https://a.com","https://b.com"]'])
def test_names_come_with_commas_or_as_json(text: str) -> None:
    settings = Settings()
    settings.assign("serving.allowed_origins", text)
    assert listed(settings.serving.allowed_origins) == ["https://a.com", "https://b.com"]
