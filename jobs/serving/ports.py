"""The port of the gateway."""

from __future__ import annotations

import errno
import socket

from sqlllm.errors import SetupError


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port until Serve's proxy has it; port 0 takes a free one. SetupError if it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if port:
            # Serve binds with SO_REUSEPORT: without this check it would share the port of another Serve.
            with socket.create_server((host, port), family=family):
                pass
        held = socket.socket(family, socket.SOCK_STREAM)
        # Bound and not listening: it keeps others away and lets the proxy in.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened: {error.strerror}"
        raise SetupError(
            f"port {port} of {host} {what}",
            cure="Set serving.port to another port (SQLLLM_SERVING__PORT=8001), or to 0 for any free one.",
        ) from None
    return held


def reachable(host: str) -> str:
    """The address under which clients reach a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 (a comparison)
        import ray

        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"[{host}]" if ":" in host else host
