"""Start Ray in this process, or join a running cluster.

An embedded Ray belongs to this process alone: it has its own folder, which only this user may enter, and its own
token. Two scripts, or two users, on one machine do not meet. When the process ends, by whatever signal, everything it
started ends with it. `local` keeps one for several processes.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlllm.errors import PackageError, SetupError

from . import local

if TYPE_CHECKING:
    from sqlllm.settings import RaySettings

# Read by Ray when it is imported or when its processes start; the user's own value wins.
_ENVIRONMENT = {
    # Ends what a worker has started, such as vLLM's engine, with the worker.
    "RAY_process_group_cleanup_enabled": "true",
    # Else a warning in every process about a default that Ray will change.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else models and training stand back behind whatever else the machine does, such as Spark.
    "RAY_worker_niceness": "0",
    # It makes the hashing in `datasets` flood the log.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # Threads that wait asleep: on a busy machine the usual busy-waiting makes training ten times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
}

_ABSENT = Path(__file__).with_name("absent")  # modules that Ray's processes are to take for missing
HEAD = "node:__internal_head__"  # the resource that only Ray's head node has
_MARK = "_SQLLLM_RAY"  # in the environment of all processes of an embedded Ray
_PREFIX = f"/tmp/sqlllm-{os.getuid()}-"  # noqa: S108 (mkdtemp makes what follows private)
_TRIES = 3  # Ray gives itself 30 s to start, which no setting changes: too few on a busy machine
_reaper: subprocess.Popen[bytes] | None = None
T = TypeVar("T")


def start(settings: RaySettings, *, dashboard: bool = False) -> bool:
    """Start or join Ray; False, and nothing is done, when this process already has it.

    Joins the cluster at `settings.address`, else at `RAY_ADDRESS`, else that of `sqlllm up`, else starts one. Call it
    from a thread that lives as long as Ray is needed: the kernel ends Ray's processes with the thread that started
    them. A Ray with a dashboard takes jobs of other processes.

    Raises: SetupError if there is no cluster at the address, if it refuses the token, or if Ray does not start.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    where = address(settings)
    authorize(where)
    _import_ray()
    import ray

    if ray.is_initialized():
        return False
    with _own_sigterm():
        if where:
            _join(where)
        else:
            _start_embedded(settings, dashboard)
    _keep_off_standard_output()
    return True


@cache  # once
def _keep_off_standard_output() -> None:
    """Ray reports dead workers and lost nodes on standard output, which is the script's; no setting changes that."""
    from ray._private import worker

    tell = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, ignore_prefix: tell({**data, "is_err": True}, ignore_prefix)


def _import_ray() -> None:
    """Import Ray, without what makes that slow.

    Raises: PackageError if it is not installed.
    """
    absent: dict[str, Any] = {path.stem: None for path in _ABSENT.glob("*.py") if path.stem not in sys.modules}
    sys.modules.update(absent)
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise PackageError.from_import_error(error, package="ray", extra="ray") from error
    finally:
        for name in absent:
            del sys.modules[name]


def stop() -> None:
    """Leave a joined cluster, or end the embedded one and wait until its processes are gone."""
    import ray

    ray.shutdown(wait_for_processes=True)
    _sweep()


def dashboard() -> str:
    """The address of the dashboard of this process's Ray; empty if there is none."""
    if "ray" not in sys.modules:
        return ""
    import ray
    from ray._private.worker import get_dashboard_url  # what `ray.init` says, which may have been another's call

    url = get_dashboard_url() if ray.is_initialized() else None  # type: ignore[no-untyped-call]
    return f"http://{url}" if url else ""


def is_embedded() -> bool:
    """Whether this process has started a Ray of its own: one machine, and nothing is added to it."""
    return _reaper is not None


def address(settings: RaySettings) -> str:
    """The address of the cluster to join; empty if Ray is to run as part of this process."""
    where = settings.address or os.environ.get("RAY_ADDRESS", "")
    if not where and not is_embedded() and (found := local.find()):
        return found.address
    return "" if where == "local" else where


def is_shared(settings: RaySettings) -> bool:
    """Whether Ray is a cluster that was joined by address, so that others may call its models from elsewhere."""
    found = local.find()
    where = address(settings)
    return bool(where) and (found is None or found.address != where)


def head() -> tuple[str, str]:
    """Node id and address of the head of the Ray that runs."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    found = next(node for node in nodes if node["Alive"] and HEAD in node["Resources"])
    return found["NodeID"], found["NodeManagerAddress"]


def on_head(function: Callable[..., T], *arguments: Any) -> T:
    """What a function gives on the machine of Ray's head; its own errors."""
    import ray
    from ray.exceptions import RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node, _ = head()
    if node == ray.get_runtime_context().get_node_id():
        return function(*arguments)
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task: Any = ray.remote(function).options(num_cpus=0, scheduling_strategy=there)
    try:
        found: T = ray.get(task.remote(*arguments))
    except RayTaskError as error:
        raise error.cause from None
    return found


def authorize(where: str) -> None:
    """Let this process into the cluster at `where`, if it is that of `sqlllm up`; others' tokens are the user's.

    Before Ray is imported, which is when it asks whether there are tokens.
    """
    if (found := local.find()) and found.address == where:
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(found.token)


def environment() -> dict[str, str]:
    """This process's environment for one that outlives it: without the token of an embedded Ray, which goes with it."""
    embedded = os.environ.get("RAY_AUTH_TOKEN_PATH", "").startswith(_PREFIX)
    return {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN_PATH" or not embedded}


def _start_embedded(settings: RaySettings, dashboard: bool) -> None:
    folder = _folder()
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token(folder))
    atexit.register(stop)  # does nothing after an earlier stop
    path = os.environ.get("PYTHONPATH")
    os.environ[_MARK] = str(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_ABSENT), *([path] if path else [])])
    try:
        # A try lets go of the processes of the one before, and does not know that they have ended.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            for tries in range(_TRIES):
                try:
                    _init(settings, folder, dashboard)
                    break
                except Exception as error:
                    if tries + 1 == _TRIES or "timed out during startup" not in str(error):
                        raise
                _sweep()
            if tries:
                gc.collect()
    except Exception as error:  # Ray raises plain ones
        _sweep()
        raise SetupError(f"Ray did not start: {error}", cure=f"Its logs are under {folder}.") from error
    finally:
        # Only Ray's processes carry these, not the others that this process starts (Spark's JVM).
        del os.environ[_MARK], os.environ["PYTHONPATH"]
        if path is not None:
            os.environ["PYTHONPATH"] = path


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does at SIGTERM: Ray's handler prints a C++ stack trace and exits with 15."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _init(settings: RaySettings, folder: Path, dashboard: bool) -> None:
    import ray

    _start_reaper(f"{_MARK}={folder}")
    ray.init(
        address="local",
        num_cpus=settings.num_cpus or max(4, os.cpu_count() or 1),
        object_store_memory=settings.object_store_memory,
        include_dashboard=dashboard,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(folder / "ray"),  # Ray opens its folder to everyone; ours around it stays closed
    )


def _start_reaper(mark: str) -> None:
    """Start the process that outlives this one and ends what Ray leaves behind."""
    global _reaper
    script = Path(__file__).with_name("reaper.py")
    # A session of its own: Ctrl-C in the terminal must not end it first.
    _reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(script), mark], stdin=subprocess.PIPE, start_new_session=True
    )


def _sweep() -> None:
    """Let the reaper end what is left, and wait for it."""
    global _reaper
    if _reaper is not None:
        _reaper.communicate()
        _reaper = None


def _join(where: str) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    if "://" in where:  # Ray Client, which neither Ray Train nor Ray Serve is made for
        raise SetupError(
            f"a Ray cluster is joined at HOST:PORT, not at {where}",
            cure="Write the address of its head, with port 6379 as a rule, on a machine that is a node of it.",
        )
    host, _, port = where.rpartition(":")
    try:
        if host:  # Ray itself would wait for minutes for a cluster that is not there
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise SetupError(
            f"no Ray cluster answers at {where}: {error}",
            cure="Correct ray.address (or RAY_ADDRESS), or leave it empty to run Ray in this process.",
        ) from error
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
    except AuthenticationError as error:
        raise SetupError(
            f"the Ray cluster at {where} asks for another token",
            cure="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=<the cluster's token file>.",
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise SetupError(
            f"the Ray cluster at {where} cannot be joined: {error}",
            cure="This machine has to be a node of it (`ray start --address=...`), with the same Python and Ray.",
        ) from error


@cache
def _folder() -> Path:
    """This process's folder; those of ended processes are removed first.

    Short, because the path of a Unix socket below it may have 107 characters: hence /tmp and not $TMPDIR.
    """
    for old in Path("/").glob(f"{_PREFIX[1:]}*/lock"):
        if not old.is_symlink() and old.parent.stat().st_uid == os.getuid() and _lock(old) is not None:
            shutil.rmtree(old.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/"))
    # Locked before it gets its name, so that nobody takes it for an old one. The lock lives as long as the process.
    unnamed = folder / "lock.new"
    unnamed.touch(mode=0o600)
    _lock(unnamed)
    return unnamed.rename(folder / "lock").parent


def _lock(path: Path) -> int | None:
    """Lock a file for the rest of this process; None if a living process holds it."""
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _token(folder: Path) -> Path:
    """The file of this process's Ray token, readable by this user only."""
    path = folder / "token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path
