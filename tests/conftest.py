"""One Spark, one Ray and one set of served models for the whole run; each starts when a test first asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models on few cores: threads only get in each other's way


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    from sqlllm.session.spark import start_spark
    from sqlllm.settings import SparkSettings

    session = start_spark(SparkSettings(master="local[2]", driver_memory="1g"))
    yield session
    session.stop()
