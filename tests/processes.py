"""How `pytest -n 2` shares out the tests: file by file, those that take longest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

# Their tests share the tiny model on each engine: in one process, which serves it once.
_TOGETHER = ("serving/test_contract.py", "serving/test_faults.py", "serving/test_prefixes.py", "session/test_model.py")
# Minutes each. The others follow as they were collected, so that the end is not one long file.
_LONGEST = (
    "session/test_clusters.py",
    *_TOGETHER,
    "training/test_detached.py",
    "serving/test_serving.py",
    "test_quickstart.py",
    "session/test_byzer.py",
    "training/test_pretrain_workers.py",
    "console/test_shell.py",
    "training/test_lost_node.py",
    "training/test_resume.py",
    "test_lifecycle.py",
    "console/test_models.py",
    "session/test_media.py",
    "console/test_browser.py",
    "serving/test_cluster.py",
    "serving/test_life.py",
    "session/test_runs.py",
    "training/test_sharded.py",
    "serving/test_key.py",
    "serving/test_quantization.py",
)
_RANKS = {f"tests/{name}": rank for rank, name in enumerate(_LONGEST)}


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In each of several processes, which all collect the same."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _RANKS.get(_file(item.nodeid), len(_RANKS)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Gives a process that has nothing left to do the next file."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = _file(nodeid)
            return "together" if file.removeprefix("tests/") in _TOGETHER else file

    config.option.loadscopereorder = False  # it would put the files with the most tests first
    return Files(config, log)
