"""The port of the gateway."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlllm.errors import SetupError

from ... import cluster


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port of Ray's head node, where Serve's proxy runs, until it has it; port 0 takes a free one.

    Raises: SetupError if it is in use.
    """
    import ray
    from ray.exceptions import RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node, _ = cluster.head()
    if node == ray.get_runtime_context().get_node_id():
        with reserve(host, port) as held:
            yield held.getsockname()[1]
        return
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    holder: Any = ray.remote(_Holder).options(num_cpus=0, scheduling_strategy=there).remote()
    try:
        yield ray.get(holder.hold.remote(host, port))
    except RayTaskError as error:
        raise error.cause from None
    finally:
        ray.kill(holder)


class _Holder:
    """Holds a port of the node that it runs on."""

    def hold(self, host: str, port: int) -> int:
        self._held = reserve(host, port)
        return int(self._held.getsockname()[1])


def listening(host: str, port: int) -> socket.socket:
    """Listen on a port of this machine; port 0 takes a free one. SetupError if it is in use."""
    with reserve(host, port) as held:
        found = held.getsockname()[1]
        listens = socket.create_server((host, found), family=held.family, backlog=1024, reuse_port=True)
    # Connections inherit it. asyncio sets it on its own sockets alone, and without it an answer waits 40 ms for an ACK.
    listens.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listens


def reachable_here(host: str) -> str:
    """The address under which this machine reaches a server of its own that listens on `host`."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 (a comparison)
    return f"[{host}]" if ":" in host else host


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port of this machine; port 0 takes a free one. SetupError if it is in use."""
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
    """The address under which clients reach a server of Ray's head node that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 (a comparison)
        _, host = cluster.head()
    return f"[{host}]" if ":" in host else host
