"""A session whose model `emb` is a provider's on this machine, on a gateway without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.session import Observer, Session
from tests.serving import provider as fake
from tests.serving.provider import Provider

from .embedding import embeds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Notes(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warned(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with fake.serve() as started:
        started.answers = embeds
        yield started


@pytest.fixture(scope="module")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
def session(
    spark: SparkSession, provider: Provider, notes: Notes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    home = tmp_path_factory.mktemp("index")
    with Session(spark=spark, observer=notes) as session:
        session.override("home", str(home))
        session.override("here", str(home))
        for name in ("emb", "emb2"):
            deploy(session, provider, name)
        yield session


def deploy(session: Session, provider: Provider, name: str) -> None:
    """Make the provider's model the function `name`."""
    session.run(
        f"""run command as LLM.`` where action="infer" and pretrainedModelType="saas/openai" and udfName="{name}"
        and `saas.base_url`="{provider.url}/v1" and `saas.model`="{name}" and `saas.api_key`="{fake.KEY}";"""
    )


@pytest.fixture
def folder(session: Session) -> Path:
    return session.settings.home / "indexes"
