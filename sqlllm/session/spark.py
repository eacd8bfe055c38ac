"""Start Spark, quietly, or say in one line why it cannot start."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from sqlllm.errors import PackageError, SetupError

from . import spark_archive

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.settings import SparkSettings

_PORTS = {"spark": 7077, "sc": 15002}  # where an address names none
_EXECUTOR_SECONDS = 60.0
JAVA = 17  # the least that Spark 4 runs on
_SESSION = {
    "spark.sql.variable.substitute": "false",  # `${x}` in a value is data
    # As in Spark 3, which published scripts were written for: what cannot be cast is NULL, as is `split(...)[9]`.
    "spark.sql.ansi.enabled": "false",
}
JAVA_CURE = (
    "Install it:\n"
    "  Debian, Ubuntu:  sudo apt-get install -y default-jre-headless\n"
    "  Fedora:          sudo dnf install -y java-21-openjdk-headless\n"
    "  macOS:           brew install openjdk@21 && export JAVA_HOME=$(brew --prefix openjdk@21)"
)


def find_java() -> tuple[str, int]:
    """The Java that Spark would take, and its major version. Raises SetupError if there is none that serves."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    where = f" at JAVA_HOME={home}" if home else ""
    if not java or not os.access(java, os.X_OK):
        raise SetupError(f"Spark needs Java {JAVA} or newer; there is none{where}.", cure=JAVA_CURE)
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', shown)
    if not version:
        raise SetupError(f"{java} does not run: {shown.strip()}", cure=JAVA_CURE)
    major = int(version[1])
    if major < JAVA:
        raise SetupError(f"Spark needs Java {JAVA} or newer; {java} is Java {major}.", cure=JAVA_CURE)
    return java, major


def start_spark(
    settings: SparkSettings, *, java_options: str | None = None, conf: Mapping[str, str] | None = None
) -> SparkSession:
    """A Spark session: Spark Connect at `remote`, else a driver in this process for `master`.

    `conf` is of Spark's own keys and goes before what is set here.

    Raises SetupError if Java is missing, if nothing answers at the address, or if Spark does not start.
    """
    where = settings.remote or settings.master
    _reach(where)
    try:
        from pyspark.errors import PySparkException, PySparkImportError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise PackageError.from_import_error(error, package="pyspark", extra="spark") from error
    for name in ("SPARK_REMOTE", "MASTER"):  # PySpark takes neither beside explicit settings
        os.environ.pop(name, None)
    builder = SparkSession.builder.appName("sqlllm")
    options = _SESSION
    if settings.remote:
        builder = builder.remote(settings.remote)
    else:
        find_java()
        options = options | _driver_options(settings, spark_archive.options() if java_options is None else java_options)
    for key, value in (options | dict(conf or {})).items():
        builder = builder.config(key, value)
    # The workers run this interpreter, so that they find the same packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        with _quiet_jvm() as log, _own_sigint():
            session = builder.getOrCreate()
        log.unlink()  # the JVM goes on writing to it; nobody needs to read that
    except PySparkImportError as error:
        raise SetupError(f"Spark Connect lacks a package: {error}", cure="Run: pip install 'sqlllm[connect]'") from None
    except PySparkException as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise SetupError(f"Spark did not start at {where}: {error}\n{tail}".strip()) from error
    if where.startswith("spark://"):
        _wait_for_an_executor(session, where)
    return session


def _driver_options(settings: SparkSettings, java_options: str) -> dict[str, str]:
    warehouse = tempfile.mkdtemp(prefix="sqlllm-warehouse-")  # the catalogue of tables ends with the process, too
    atexit.register(shutil.rmtree, warehouse, ignore_errors=True)
    options = {
        "spark.master": settings.master,
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.defaultJavaOptions": java_options,
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",  # no port to collide on; `set spark.ui.enabled` in spark-defaults.conf wins
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": warehouse,
        "spark.python.task.killTimeout": "500ms",  # until a cancelled task's Python worker is killed
    }
    if settings.packages:
        options["spark.jars.packages"] = settings.packages
    if "delta-spark" in settings.packages:
        options["spark.sql.extensions"] = "io.delta.sql.DeltaSparkSessionExtension"
        options["spark.sql.catalog.spark_catalog"] = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
    if settings.master.startswith("local"):
        # Loopback: two sessions, and two users, do not meet, and a laptop off the network works.
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
        options["spark.sql.shuffle.partitions"] = str(2 * (os.cpu_count() or 1))
    return options


def _reach(where: str) -> None:
    """SetupError if nothing answers at a master's or a server's address: Spark itself would try for minutes."""
    scheme, _, rest = where.partition("://")
    if scheme not in ("spark", "sc"):
        return
    reason = ""
    for place in rest.partition("/")[0].partition(";")[0].split(","):  # several masters stand by for each other
        host, _, port = place.rpartition(":") if ":" in place else (place, "", "")
        try:
            socket.create_connection((host.strip("[]"), int(port or _PORTS[scheme])), timeout=10).close()
            return
        except (OSError, ValueError) as error:
            reason = str(error)
    raise SetupError(
        f"no Spark answers at {where}: {reason}",
        cure="Correct --master (or spark.master, spark.remote, SPARK_REMOTE), or leave it out to run Spark here.",
    )


def _wait_for_an_executor(session: SparkSession, master: str) -> None:
    """SetupError if the cluster gives none: Spark itself would wait for ever and say nothing."""
    driver = 1  # is in the list, too
    context: Any = session.sparkContext
    deadline = time.monotonic() + _EXECUTOR_SECONDS
    while context._jsc.sc().getExecutorMemoryStatus().size() == driver:
        if time.monotonic() > deadline:
            wanted = context.getConf().get("spark.executor.memory", "1g")
            session.stop()
            raise SetupError(
                f"{master} gave no executor with {wanted} within {_EXECUTOR_SECONDS:.0f} s",
                cure="Its page shows its workers, and who holds their cores: spark.cores.max limits each application."
                " Executors that start and end at once do not reach this machine: set spark.driver.host.",
            )
        time.sleep(0.1)


@contextmanager
def _own_sigint() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt: PySpark's handler talks to the JVM over the connection it interrupts."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    if signal.getsignal(signal.SIGINT) is not handler:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet_jvm() -> Iterator[Path]:
    """Send what the JVM prints while it starts to a log file: else it lands on the user's terminal."""
    from pyspark import java_gateway

    handle, name = tempfile.mkstemp(prefix="sqlllm-spark-", suffix=".log")
    # PySpark offers no other way to redirect it.
    with (
        os.fdopen(handle, "wb") as out,
        mock.patch.object(java_gateway, "Popen", partial(subprocess.Popen, stderr=out)),
    ):
        yield Path(name)
