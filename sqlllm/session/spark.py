"""Start Spark, quietly, or say in one line why it cannot start."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from sqlllm.errors import PackageError, SetupError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.settings import SparkSettings

JAVA = 17  # the least that Spark 4 runs on
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


def start_spark(settings: SparkSettings) -> SparkSession:
    """A Spark session: Spark Connect at `remote`, else a driver in this process for `master`.

    Raises SetupError if Java is missing or Spark does not start.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise PackageError.from_import_error(error, package="pyspark", extra="spark") from error
    builder = SparkSession.builder.appName("sqlllm")
    if settings.remote:
        builder = builder.remote(settings.remote)
    else:
        find_java()
        for key, value in _driver_options(settings).items():
            builder = builder.config(key, value)
    # The workers run this interpreter, so that they find the same packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        with _quiet_jvm() as log, _own_sigint():
            session = builder.getOrCreate()
        log.unlink()  # the JVM goes on writing to it; nobody needs to read that
        return session
    except PySparkException as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise SetupError(
            f"Spark did not start at {settings.remote or settings.master}: {error}\n{tail}".strip()
        ) from error


def _driver_options(settings: SparkSettings) -> dict[str, str]:
    warehouse = tempfile.mkdtemp(prefix="sqlllm-warehouse-")  # the catalogue of tables ends with the process, too
    atexit.register(shutil.rmtree, warehouse, ignore_errors=True)
    options = {
        "spark.master": settings.master,
        "spark.driver.memory": settings.driver_memory,
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",  # no port to collide on; `set spark.ui.enabled` in spark-defaults.conf wins
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": warehouse,
        "spark.python.task.killTimeout": "500ms",  # until a cancelled task's Python worker is killed
        "spark.sql.variable.substitute": "false",  # `${x}` in a value is data
        # As in Spark 3, which published scripts were written for: what cannot be cast is NULL, as is `split(...)[9]`.
        "spark.sql.ansi.enabled": "false",
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
