from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import gateway as gateways


@pytest.fixture
def gateway() -> Iterator[gateways.Gateway]:
    with gateways.serve() as server:
        yield server
