"""The gateway as its clients see it: started where the cluster has none, and where it answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr

from sqlllm import tls
from sqlllm.errors import SetupError

from ... import cluster
from .. import applications
from ..applications import GATEWAY
from .ports import reachable, reserved

if TYPE_CHECKING:
    from sqlllm.settings import ServingSettings, Settings

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Front:
    """Where the gateway answers."""

    url: str = ""  # without `/v1`
    certificate: str = ""  # as PEM; empty without TLS
    is_new: bool = False  # it was not there before

    def client(self, key: SecretStr | None, **options: Any) -> httpx.Client:
        """A client that it takes for the owner of the key."""
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        # A proxy for the internet is none for the gateway.
        verify = tls.context(self.certificate)
        return httpx.Client(base_url=self.url, headers=headers, verify=verify, trust_env=False, **options)


def start_serve(settings: Settings) -> None:
    """Start Ray Serve for models alone: a gateway in this process calls them."""
    cluster.start(settings.ray)
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start("Disabled", logging_config=applications.quiet())


def start(settings: Settings) -> Front:
    """Start the gateway without waiting for it, or find the cluster's; `serving.api_key` gets the cluster's key.

    Raises: SetupError if its port is in use, or its certificate is none.
    """
    cluster.start(settings.ray)
    from ray import serve
    from ray.serve.context import _get_global_client

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    ours = settings.serving
    running: Any = _get_global_client(raise_if_no_controller_running=False)
    files = _certificate_files(ours)
    if running is None:
        host = ours.host or _usual_host(settings)
        certificate = cluster.on_head(tls.read, *files.values()) if files else ""
        with reserved(host, ours.port) as port:
            options = {"host": host, "port": port, **files}
            serve.start("HeadOnly", options, logging_config=applications.quiet())
    else:
        http = running.http_config
        host, port = http.host, http.port
        if files and files["ssl_certfile"] != http.ssl_certfile:
            how = f"with the certificate {http.ssl_certfile}" if http.ssl_certfile else "without TLS"
            raise SetupError(
                f"the cluster has Ray Serve already, {how}",
                cure="Leave out serving.ssl_certfile and serving.ssl_keyfile, or start the cluster anew.",
            )
        certificate = cluster.on_head(tls.read, http.ssl_certfile) if http.ssl_certfile else ""
    is_new = GATEWAY not in applications.statuses()
    opened = is_new and not ours.host and host != _LOOPBACK  # to the network, and nobody asked for that
    if not ours.api_key and (key := applications.key(make=opened)):
        ours.api_key = SecretStr(key)
    if is_new:
        _run(settings)
    return Front(f"{'https' if certificate else 'http'}://{reachable(host)}:{port}", certificate, is_new)


def _usual_host(settings: Settings) -> str:
    """Loopback, unless Spark or other sessions call from other machines."""
    elsewhere = cluster.is_shared(settings.ray) or not settings.spark.is_here
    return cluster.head()[1] if elsewhere else _LOOPBACK


def _certificate_files(ours: ServingSettings) -> dict[str, str]:
    """The certificate's file and its key's, as Serve takes them; none without TLS."""
    files = {"ssl_certfile": ours.ssl_certfile, "ssl_keyfile": ours.ssl_keyfile}
    if not any(files.values()):
        return {}
    if missing := next((name for name, file in files.items() if not file), ""):
        raise SetupError(f"serving.{missing} is missing", cure="A certificate and its key go together.")
    return {name: str(Path(file).expanduser().absolute()) for name, file in files.items()}


def _run(settings: Settings) -> None:
    from .serve_gateway import ServeGateway

    applications.run(
        ServeGateway,
        settings.home.expanduser().absolute() / "serving",
        settings.store,
        settings.quota,
        settings.serving,
        settings.llm.price_table,
        settings.indexes,
        application=GATEWAY,
        route_prefix="/",
        name="gateway",
        # Where the proxy is; what it keeps lies on that node's disk.
        ray_actor_options={"num_cpus": 0, "resources": {cluster.HEAD: 0.001}},
        max_ongoing_requests=10_000,
    )
