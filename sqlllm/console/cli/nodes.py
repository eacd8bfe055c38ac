"""What `sqlllm doctor` asks each node of the clusters that the settings name."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlllm.errors import SQLLLMError
from sqlllm.jobs import cluster
from sqlllm.jobs.serving.deploy.ports import reachable
from sqlllm.settings import Settings
from sqlllm.version import __version__

from .findings import BROKEN, OK, Finding

# What a node must have besides this package.
_ON_RAY = ("ray", "torch", "transformers")
_ON_SPARK = ("pyarrow", "httpx", "orjson", "pydantic-settings")
_SECONDS = 120.0  # that the nodes have to answer
_TASKS = 64  # spread over Spark's executors, which nothing lists

Told = dict[str, Any]


def findings(settings: Settings) -> list[Finding]:
    """One for each node; none where Spark and Ray run here."""
    found = []
    home = settings.home.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".doctor-", dir=home) as shared, ExitStack() as joined:
        gateway = None
        if cluster.is_shared(settings.ray):
            joined.callback(cluster.stop)
            found += _asked("ray", lambda: _ray(settings, shared.name), "ray,train")
            if found[0].state == OK and not settings.spark.is_here:
                gateway = joined.enter_context(_gateway(settings))
        if not settings.spark.is_here:
            found += _asked("spark", lambda: _spark(settings, shared.name, gateway), "spark")
    return found


def _asked(system: str, ask: Callable[[], dict[str, Told]], extra: str) -> list[Finding]:
    try:
        return [judge(f"{system} {name}", told, extra) for name, told in sorted(ask().items())]
    except SQLLLMError as error:
        return [Finding(system, BROKEN, error.message, error.cure)]
    except Exception as error:  # noqa: BLE001 - whatever the nodes' Python says is the finding
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if "Error" in line or "[" in line), lines[-1] if lines else "")
        return [Finding(system, BROKEN, f"the nodes do not answer: {type(error).__name__}: {reason}")]


def judge(name: str, told: Told, extra: str) -> Finding:
    """What is wrong with a node that said this."""
    here = platform.python_version()
    versions: dict[str, str] = told["versions"]
    missing = [package for package, version in versions.items() if not version]
    detail = f"python {told['python']}, " + ", ".join(f"{name} {v}" for name, v in versions.items() if v)
    if told["python"].rpartition(".")[0] != here.rpartition(".")[0]:
        return Finding(name, BROKEN, detail, f"Install Python {here} there: it is that of this machine.")
    if missing:
        cure = f"Run there: pip install 'sqlllm[{extra}]=={__version__}'"
        return Finding(name, BROKEN, f"{detail}; missing: {', '.join(missing)}", cure)
    if versions["sqlllm"] != __version__:
        return Finding(name, BROKEN, detail, f"Install sqlllm {__version__} there: it is that of this machine.")
    if not told["sees"]:
        cure = "Mount one folder at one path on all machines, and set SQLLLM_HOME to a folder in it."
        return Finding(name, BROKEN, f"{detail}; it does not see {told['home']}", cure)
    if told["unreached"]:
        cure = "Open that port of Ray's head to this machine; serving.port fixes which one it is."
        return Finding(name, BROKEN, f"{detail}; it does not reach the gateway's {told['unreached']}", cure)
    return Finding(name, OK, detail)


def probe(shared: str, packages: tuple[str, ...], gateway: tuple[str, int] | None = None) -> Callable[[], Told]:
    """A function that says what a node has, sees and reaches. It travels by value: the node may lack this package."""

    def look() -> Told:
        import importlib.metadata
        import os
        import platform
        import socket

        versions, unreached = {}, ""
        try:
            if gateway:
                socket.create_connection(gateway, timeout=10).close()
        except OSError as error:
            unreached = f"{gateway}: {error}"
        for package in packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                versions[package] = ""
        try:
            from sqlllm.version import __version__

            versions["sqlllm"] = __version__
        except ImportError:
            versions["sqlllm"] = ""
        return {
            "host": platform.node(), "python": platform.python_version(), "versions": versions,
            "home": os.path.dirname(shared), "sees": os.path.exists(shared),  # noqa: PTH110, PTH120
            "unreached": unreached,
        }  # fmt: skip

    return look


def _ray(settings: Settings, shared: str) -> dict[str, Told]:
    cluster.start(settings.ray)
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look: Any = ray.remote(probe(shared, _ON_RAY))
    head, _ = cluster.head()
    asked = {}
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{'head ' if node['NodeID'] == head else ''}{node['NodeManagerAddress']} {node['NodeID'][:6]}"
            asked[name] = look.options(num_cpus=0, scheduling_strategy=there).remote()
    return {name: ray.get(told, timeout=_SECONDS) for name, told in asked.items()}


@contextmanager
def _gateway(settings: Settings) -> Iterator[tuple[str, int]]:
    """Address and port of the cluster's gateway; where there is none yet, of one that listens in its place."""
    import ray
    from ray.serve.context import _get_global_client
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    running: Any = _get_global_client(raise_if_no_controller_running=False)
    if running is not None:
        yield reachable(running.http_config.host), running.http_config.port
        return

    class Listener:
        def listen(self, host: str, port: int) -> int:
            import socket

            self.server = socket.create_server((host, port))
            return int(self.server.getsockname()[1])

    node, host = cluster.head()
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    listener: Any = ray.remote(Listener).options(num_cpus=0, scheduling_strategy=there).remote()
    yield host, ray.get(listener.listen.remote(settings.serving.host or host, settings.serving.port), timeout=_SECONDS)
    ray.kill(listener)


def _spark(settings: Settings, shared: str, gateway: tuple[str, int] | None) -> dict[str, Told]:
    from sqlllm.session.spark import start_spark

    look = probe(shared, _ON_SPARK, gateway)

    def answers(batches: Iterator[Any]) -> Iterator[Any]:
        import json

        import pyarrow as pa

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"told": [json.dumps(look())]})

    import json

    spark = start_spark(settings.spark)
    try:
        rows = spark.range(0, _TASKS, 1, _TASKS).mapInArrow(answers, "told string").distinct().collect()
        told = [json.loads(row.told) for row in rows]
        return {one["host"]: one for one in told}
    finally:
        spark.stop()
