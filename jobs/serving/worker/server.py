"""One worker as a deployment of Ray Serve."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from sqlllm.errors import SQLLLMError

from ..applications import REASON
from ..spec import ModelSpec
from .worker import Worker, WorkerLoad


class LoadError(Exception):
    """What a server that does not start says to Serve."""


class ModelServer:
    """The methods of `Worker` that Serve calls."""

    async def __init__(self, spec: dict[str, Any], gpus: float, threads: str | None, digest: str) -> None:  # type: ignore[misc]
        # Serve awaits it. `threads` is the user's OMP_NUM_THREADS; Ray sets its own, 1 for each CPU that it counts.
        # `digest` is the fingerprint that was deployed; empty if only the cluster's nodes see the files.
        wanted = ModelSpec(**spec)
        if not gpus:
            share = (os.cpu_count() or 1) // wanted.replicas
            os.environ["OMP_NUM_THREADS"] = threads or str(max(1, int(wanted.cpus_per_worker), share))
            # Threads that wait for work sleep: spinning, they take half of the CPU from Spark and the gateway.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            self._worker = await Worker.started(wanted, gpus)
        except SQLLLMError as error:
            raise LoadError(REASON + str(error)) from None
        except MemoryError:
            raise LoadError(f"{REASON}it does not fit into the memory that its worker may use") from None
        found, _ = await self._worker.identity()
        if digest not in ("", found):  # it takes the place of a worker that has died, and would answer otherwise
            said = f"the files in {wanted.model_path} have changed since the model was deployed; deploy it again"
            raise LoadError(REASON + said)

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str, str]:
        """HTTP status, body, media type, and the model's fingerprint."""
        return await self._worker.ask(route, body)

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Server-sent events; a refusal is the only item, with its status."""
        async for item in self._worker.stream(route, body):
            yield item

    async def load(self) -> WorkerLoad:
        """What this worker does now."""
        from ray import serve

        return self._worker.load(serve.get_replica_context().replica_id.unique_id)

    async def identity(self) -> tuple[str, dict[str, Any]]:
        """What the model's answers follow from, and what it is."""
        return await self._worker.identity()

    async def has_changed(self) -> bool:
        """Whether its files are not those any more that it was loaded from."""
        return await self._worker.has_changed()

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation."""
        return await self._worker.count_tokens(batch)

    async def counts(self) -> dict[str, int]:
        """What the model has counted."""
        return await self._worker.counts()

    async def check_health(self) -> None:
        """Serve replaces a server for which this raises."""
        await self._worker.model.check_health()
