"""TLS of the gateway. SQL's own calls trust its certificate and no other, whatever address they call it by."""

from __future__ import annotations

import re
import ssl
from functools import cache
from pathlib import Path

from sqlllm.errors import SetupError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@cache
def context(certificate: str) -> ssl.SSLContext:
    """How a client checks a gateway that has this certificate (PEM; empty: it has none, and speaks plain HTTP)."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody yet, and, unlike httpx's own, reads no file (50 ms)
    if certificate:
        made.load_verify_locations(cadata=certificate)
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever has signed it
        made.check_hostname = False  # nobody else has its key
    return made


def read(certfile: str, keyfile: str) -> str:
    """The certificate of a server with these files (PEM), without those of who signed it.

    Raises: SetupError if they are not a certificate and its key.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=lambda: "")
        found = _CERTIFICATE.search(Path(certfile).read_text())
        assert found, "load_cert_chain has read it"
    except OSError as error:  # an ssl.SSLError, too
        missing = next((one for one in (certfile, keyfile) if not Path(one).is_file()), "")
        raise SetupError(
            f"there is no file {missing}"
            if missing
            else f"{certfile} and {keyfile} are no certificate and its key: {error}",
            cure="serving.ssl_certfile and serving.ssl_keyfile are PEM files, the key without a password; on a cluster"
            " they lie on its head.",
        ) from None
    return found[0]
