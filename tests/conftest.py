"""One Spark, one Ray and one set of served models per process; each starts when a test first asks for it."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tiny import make_tiny_model

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytest_plugins = ["tests.processes"]

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched
# Kept answers would make up for what is broken.
os.environ["SQLLLM_HOME"] = _HOME = tempfile.mkdtemp(prefix="sqlllm-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models on few cores: threads only get in each other's way
# Spark lives for minutes here: Java's second compiler would cost more than what it makes faster.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
# What a shell starts in the background ignores Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    from sqlllm.session.spark import start_spark
    from sqlllm.settings import SparkSettings

    session = start_spark(SparkSettings(master="local[2]", driver_memory="1g"))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def serving() -> Iterator[Serving]:
    """The gateway, on an embedded Ray. Deploy under a name of your own, and undeploy what others do not need."""
    from sqlllm.jobs import cluster
    from sqlllm.jobs.serving import Serving
    from sqlllm.settings import Settings

    with Serving(Settings()) as started:
        yield started
    cluster.stop()
