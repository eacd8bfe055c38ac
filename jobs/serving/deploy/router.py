"""A router of Ray Serve's by prefixes. That of `ray.serve.llm` would need vLLM and torch in the gateway's process."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

from ray.serve._private.common import ReplicaID
from ray.serve._private.request_router.common import PendingRequest
from ray.serve._private.request_router.replica_wrapper import RunningReplica
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from ..gateway.prefixes import Prefixes

_RANKS = 3  # workers that are tried in turn
_ON_THEIR_WAY = 1024  # requests


class PrefixRouter(ConsistentHashRouter):
    """Sends a request to the worker that knows most of its prompt, whose keys are its `session_id`."""

    def initialize_state(self, **more: Any) -> None:
        """Nothing is known yet."""
        super().initialize_state(**more)
        self._prefixes = Prefixes[ReplicaID]()
        self._on_their_way: OrderedDict[str, ReplicaID] = OrderedDict()  # chosen for, but not counted by Serve yet

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Other workers are there."""
        super().update_replicas(replicas)
        self._prefixes.keep(self._replica_id_set)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The best workers, in turn."""
        if not candidate_replicas or pending_request is None:
            return [candidate_replicas] if candidate_replicas else []
        pending_request.routing_context.should_backoff = True
        name, prompt = pending_request.metadata.internal_request_id, pending_request.metadata.session_id
        keys = prompt.split(".") if prompt else []
        self._on_their_way.pop(name, None)
        waiting = Counter(self._on_their_way.values())
        replicas = {replica.replica_id: replica for replica in candidate_replicas}
        loads = {one: (self.replica_queue_len_cache.get(one) or 0) + waiting[one] for one in replicas}
        best, *others = self._prefixes.ranked(keys, loads)
        self._prefixes.saw(best, keys)
        self._on_their_way[name] = best
        if len(self._on_their_way) > _ON_THEIR_WAY:  # one that was given up is never routed
            self._on_their_way.popitem(last=False)
        return [[replicas[one]] for one in (best, *others[: _RANKS - 1])]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Serve counts a request now."""
        self._on_their_way.pop(pending_request.metadata.internal_request_id, None)
