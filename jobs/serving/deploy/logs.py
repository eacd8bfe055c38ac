"""What a model's workers have logged: Serve's log of each, and what it and its engine wrote to standard error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MARKS = (":job_id:", ":actor_name:", ":task_name:")  # Ray's own, for the readers of its logs


def read(application: str, last: int) -> list[tuple[str, str]]:
    """Worker and line, the `last` lines of each file. A worker of another machine has one line, which says where."""
    import ray
    from ray._private.worker import global_worker
    from ray.serve.context import _get_global_client

    node: Any = global_worker.node
    folder, here = Path(node.get_logs_dir_path()), ray.get_runtime_context().get_node_id()
    client: Any = _get_global_client()
    details = client.get_serve_details()["applications"].get(application, {"deployments": {}})
    found = []
    for deployment in details["deployments"].values():
        for replica in deployment["replicas"]:
            worker = replica["replica_id"]
            if replica["node_id"] != here:
                found.append((worker, f"its log lies on {replica['node_ip']}: {replica['log_file_path']}"))
                continue
            for path in _files(folder, replica):
                lines = path.read_text(errors="replace").splitlines()[-last:]
                found += [(worker, line) for line in lines if line.strip() and not line.startswith(_MARKS)]
    return found


def _files(folder: Path, replica: dict[str, Any]) -> Iterator[Path]:
    serve = folder / str(replica["log_file_path"]).lstrip("/")
    if serve.is_file():
        yield serve
    yield from sorted(folder.glob(f"worker-{replica['worker_id']}-*-{replica['pid']}.err"))
