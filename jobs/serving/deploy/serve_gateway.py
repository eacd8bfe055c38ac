"""The gateway as a deployment of Ray Serve: the same application as anywhere, with Serve's models."""

from __future__ import annotations

from pathlib import Path

from ray import serve
from starlette.types import ASGIApp

from sqlllm.settings import QuotaSettings, ServingSettings, StoreSettings

from ..gateway.app import Gateway, Prices, application
from ..gateway.on_serve import ServeModels


@serve.ingress()
class ServeGateway:
    """One replica."""

    def __init__(
        self,
        folder: Path,
        store: StoreSettings,
        quota: QuotaSettings,
        settings: ServingSettings,
        prices: Prices,
        indexes: str = "",
    ) -> None:
        self._gateway = Gateway(folder, store, quota, settings, ServeModels(), prices, indexes)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve calls it once the replica is there."""
        return application(self._gateway)
