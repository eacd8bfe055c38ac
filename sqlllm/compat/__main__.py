"""`python -m sqlllm.compat script.py`: run a script of Byzer-LLM or illufly as it stands."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from . import alias


def main(arguments: list[str]) -> None:
    """Run the script with its own arguments; `byzerllm`, `illufly` and `ray.init` are this package's."""
    if not arguments or not Path(arguments[0]).is_file():
        sys.exit("usage: python -m sqlllm.compat script.py [arguments]")
    from . import byzerllm, illufly  # noqa: F401 (which install their names)

    sys.modules.setdefault("ray", _Ray("ray"))
    alias.module(
        "byzerllm.utils.retrieval",
        ByzerRetrieval=_absent("ByzerRetrieval", "`run command as Retrieval` in SQL, or sqlllm.Index"),
    )
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")


class _Ray(ModuleType):
    """Ray for a script that only joins its cluster: the client needs none. All else is Ray's own."""

    def init(self, *_: Any, **__: Any) -> None:
        """Nothing is needed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        own = sys.modules.pop("ray", None)
        try:
            return getattr(importlib.import_module("ray"), name)
        finally:
            if own is not None and "ray" not in sys.modules:
                sys.modules["ray"] = own


def _absent(name: str, instead: str) -> type:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise NotImplementedError(f"{name} is not here. Use {instead}.")

    return type(name, (), {"__init__": refuse})


if __name__ == "__main__":
    main(sys.argv[1:])
