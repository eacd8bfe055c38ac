"""Where processes find the cluster of `sqlllm up`; what the commands do is in tests/console/test_models.py."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlllm.jobs import cluster, local
from sqlllm.settings import RaySettings


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[local.LocalCluster]:
    """A local cluster that is up, by its files."""
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "is_embedded", lambda: False)  # other tests' Ray
    here = local.LocalCluster(address="10.0.0.1:6379", pid=os.getpid(), folder=tmp_path)
    (tmp_path / "cluster.json").write_text(here.model_dump_json())
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield here


def test_it_is_joined_unless_another_one_is_named(found: local.LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster.address(RaySettings()) == found.address
    assert cluster.address(RaySettings(address="local")) == ""
    assert cluster.address(RaySettings(address="10.0.0.2:6379")) == "10.0.0.2:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.3:6379")
    assert cluster.address(RaySettings()) == "10.0.0.3:6379"
    monkeypatch.setattr(cluster, "is_embedded", lambda: True)  # it came up after this process's own
    monkeypatch.delenv("RAY_ADDRESS")
    assert cluster.address(RaySettings()) == ""


def test_its_token_is_for_it_alone(found: local.LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster.authorize("10.0.0.2:6379")
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/home/me/token"
    cluster.authorize(found.address)
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(found.folder / "token")


def test_one_whose_owner_is_gone_is_none(found: local.LocalCluster) -> None:
    (found.folder / "lock").unlink()
    (found.folder / "lock").touch()
    assert local.find() is None
    assert cluster.address(RaySettings()) == ""
    (found.folder / "cluster.json").write_text("{}")
    assert local.find() is None


def test_up_reports_why_ray_did_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise ImportError('no ray', name='ray')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(local.SetupError, match="ray is installed but does not load: no ray") as raised:
        local.up(RaySettings())
    assert "Traceback" not in raised.value.message
    assert local.down() is None
