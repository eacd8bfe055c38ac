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


def read(certfile: str, keyfile: str = "") -> str:
    """The certificate in a server's file (PEM), without those of who signed it; `keyfile`: see that it is its key.

    Raises: SetupError if a file is not what it is to be.
    """
    try:
        if keyfile:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=lambda: "")
        if found := _CERTIFICATE.search(Path(certfile).read_text()):
            return found[0]
        reason = f"{certfile} holds no certificate"
    except OSError as error:  # an ssl.SSLError, too
        missing = next((one for one in (certfile, keyfile) if one and not Path(one).is_file()), "")
        reason = f"there is no file {missing}" if missing else f"{certfile} and {keyfile} are not a pair: {error}"
    raise SetupError(
        reason,
        cure="serving.ssl_certfile and serving.ssl_keyfile are PEM files, the key without a password; on a cluster they"
        " lie on its head.",
    )
