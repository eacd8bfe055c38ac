"""What a deployment may not do unless it is allowed: run code that comes with a model, fetch from anywhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sqlllm.errors import ForbiddenError
from sqlllm.jobs.serving.worker.engines.vllm_arguments import media
from sqlllm.session.llm.infer import check_code
from sqlllm.settings import Settings


@pytest.mark.parametrize(
    ("hosts", "passed"),
    [(None, ["no-host.invalid"]), ([], ["no-host.invalid"]), (["a.com"], ["a.com"]), (["*"], None)],
)
def test_vllm_fetches_from_hosts_that_are_allowed_alone(hosts: list[str] | None, passed: list[str] | None) -> None:
    given: dict[str, Any] = {} if hosts is None else {"allowed_media_domains": hosts}
    assert media(given)["allowed_media_domains"] == passed


@pytest.mark.parametrize(
    ("option", "value", "refused"),
    [
        ("backend.trust_remote_code", "true", True),
        ("backend.trust_remote_code", "True", True),
        ("backend.trust_remote_code", " yes", True),
        ("backend.trust_remote_code", "1", True),
        ("backend.trust_remote_code", "false", False),
        ("backend.trust_remote_code", "0", False),
        ("backend.tool_parser_plugin", "/tmp/own.py", True),
        ("backend.worker_cls", "own.Worker", True),
        ("backend.worker_cls", "auto", False),
        ("backend.logits_processors", '["own:Processor"]', True),
        ("backend.max_model_len", "512", False),
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
def test_code_of_a_model_runs_only_where_python_is_allowed(
    option: str, value: str, refused: bool, allowed: bool
) -> None:
    session: Any = SimpleNamespace(settings=Settings(allow={"python": allowed}))
    if refused and not allowed:
        with pytest.raises(ForbiddenError, match="runs Python code") as caught:
            check_code(session, {option: value})
        assert "allow.python=true" in caught.value.cure
    else:
        check_code(session, {option: value})
