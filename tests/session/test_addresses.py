"""Clusters by address: what the flags and the environment say, and what is said where nothing answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sqlllm.console.cli import nodes
from sqlllm.console.cli.findings import BROKEN, OK
from sqlllm.console.cli.run import session_at
from sqlllm.errors import SetupError
from sqlllm.jobs import cluster
from sqlllm.session.llm.finetune import check_seen
from sqlllm.session.spark import start_spark
from sqlllm.settings import Settings, SparkSettings
from sqlllm.version import __version__


@pytest.mark.parametrize(
    ("flag", "master", "remote", "is_here"),
    [
        (None, "local[*]", "sc://from-the-environment", False),
        ("sc://server:15002", "local[*]", "sc://server:15002", False),
        ("spark://master:7077", "spark://master:7077", "", False),
        ("local[3]", "local[3]", "", True),
    ],
)
def test_the_flag_wins_over_the_environment(
    flag: str | None, master: str, remote: str, is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://from-the-environment")
    with session_at(flag, "10.0.0.1:6379") as session:
        spark = session.settings.spark
        assert (spark.master, spark.remote, spark.is_here) == (master, remote, is_here)
        assert session.settings.ray.address == "10.0.0.1:6379"


@pytest.mark.parametrize(
    "settings",
    [
        SparkSettings(master="spark://127.0.0.1:1"),
        SparkSettings(master="spark://127.0.0.1:1,127.0.0.1:2"),
        SparkSettings(master="spark://127.0.0.1:port"),
        SparkSettings(remote="sc://127.0.0.1:1/;token=abc"),
    ],
)
def test_no_spark_at_the_address(settings: SparkSettings) -> None:
    with pytest.raises(SetupError, match=r"no Spark answers at s\w+://127\.0\.0\.1:") as caught:
        start_spark(settings)
    assert "--master" in caught.value.cure
    assert "abc" not in str(caught.value)


def test_ray_client_is_refused() -> None:
    with pytest.raises(SetupError, match=r"joined at HOST:PORT, not at ray://10\.0\.0\.1:10001"):
        cluster._join("ray://10.0.0.1:10001")


def test_a_table_that_is_written_elsewhere(tmp_path: Path) -> None:
    session: Any = SimpleNamespace(settings=Settings(spark=SparkSettings(master="spark://master:7077")))
    with pytest.raises(SetupError, match="disks of their own"):
        check_seen(session, tmp_path)
    (tmp_path / "part-0.parquet").touch()
    check_seen(session, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"python": "3.9.1"}, "Install Python 3."),
        ({"versions": {"ray": "", "sqlllm": __version__}}, f"pip install 'sqlllm[ray]=={__version__}'"),
        ({"versions": {"ray": "2", "sqlllm": "0.0.1"}}, f"Install sqlllm {__version__} there"),
        ({"sees": False}, "set SQLLLM_HOME to a folder in it"),
        ({"unreached": "('10.0.0.1', 8000): refused"}, "Open that port of Ray's head"),
    ],
)
def test_doctor_judges_a_node(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.touch()
    told = nodes.probe(str(shared), ("ray",))()
    assert (told["sees"], told["unreached"]) == (True, "")
    assert "refused" in nodes.probe(str(shared), (), ("127.0.0.1", 1))()["unreached"]
    finding = nodes.judge("ray 10.0.0.1", told | change, "ray")
    assert finding.state == (BROKEN if change else OK)
    assert words in finding.cure
