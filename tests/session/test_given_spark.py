"""A Spark that the caller brings, and the gateway that its workers must reach."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sqlllm.jobs.serving import ModelSpec
from sqlllm.session import Session
from sqlllm.settings import Settings


@pytest.mark.parametrize(
    ("conf", "here"), [({"spark.master": "local[2]"}, True), ({"spark.master": "spark://far:7077"}, False), ({}, True)]
)
def test_a_model_is_served_in_this_process_where_the_given_spark_runs_here(conf: dict[str, str], here: bool) -> None:
    spark: Any = SimpleNamespace(conf=conf)
    serving = Session(Settings(ray={"address": ""}), spark=spark).serving  # type: ignore[arg-type]
    assert serving._settings.spark.is_here is here
    assert serving._is_light(ModelSpec(name="m", engine="remote", model_path="")) <= here
