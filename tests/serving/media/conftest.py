"""One model of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import tiny_media

from .made import load


@pytest.fixture(scope="package")
def ear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tiny_media.make_tiny_whisper(tmp_path_factory.mktemp("ear") / "model")
    return load(folder), folder


@pytest.fixture(scope="package")
def mouth(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tiny_media.make_tiny_vits(tmp_path_factory.mktemp("mouth") / "model", speakers=2))


@pytest.fixture(scope="package")
def bark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tiny_media.make_tiny_bark(tmp_path_factory.mktemp("bark") / "model"))


@pytest.fixture(scope="package")
def eye(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tiny_media.make_tiny_vision(tmp_path_factory.mktemp("eye") / "model")
    return load(folder, allowed_media_domains='["127.0.0.1"]'), folder


@pytest.fixture(scope="package")
def brush(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tiny_media.make_tiny_diffusion(tmp_path_factory.mktemp("brush") / "model"))
