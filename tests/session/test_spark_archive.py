"""Spark's classes in a file: `make setup` makes it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.session import spark_archive
from sqlllm.session.spark import find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's /proc")  # noqa: PTH110
def test_spark_uses_it(spark: SparkSession) -> None:
    if not spark_archive.PATH.exists():
        pytest.skip("sqlllm prepare was not called")
    maps = Path(f"/proc/{spark.sparkContext._gateway.proc.pid}/maps").read_text()  # type: ignore[attr-defined]
    assert str(spark_archive.PATH.resolve()) in maps


def test_an_archive_that_does_not_fit_is_left_aside_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_archive, "PATH", tmp_path / "with a space.jsa")
    assert spark_archive.options() == ""
    spark_archive.PATH.write_text("of another Java")
    monkeypatch.delenv("JDK_JAVA_OPTIONS", raising=False)
    shown = subprocess.run(
        [find_java()[0], *shlex.split(spark_archive.options()), "-version"], check=True, capture_output=True, text=True
    )
    assert shown.stdout == ""
    assert "archive" not in shown.stderr
