"""What an answer is held to, without an engine."""

from __future__ import annotations

from typing import Any

import pytest

from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines.held import held


@pytest.mark.parametrize(
    ("response_format", "structured"),
    [
        ({"type": "json_schema"}, None),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, None),
        ({"type": "json_schema", "json_schema": "a"}, None),
        ({"type": "json_object", "schema": "a"}, None),
        (None, {"json": "{"}),
    ],
)
def test_a_form_that_cannot_be_read_is_the_clients_error(response_format: Any, structured: Any) -> None:
    with pytest.raises(RequestError) as caught:
        held(response_format, structured)
    assert caught.value.status == 400
