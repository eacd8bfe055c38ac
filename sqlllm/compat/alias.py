"""Other names for modules: `from byzerllm.types import ImagePath` finds what is here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def module(name: str, **names: Any) -> ModuleType:
    """A module of that name, and the packages around it, unless there are such already.

    `names` are its contents; those of a module that was made here are added to.
    """
    parts = name.split(".")
    for index in range(1, len(parts) + 1):
        path = ".".join(parts[:index])
        made = sys.modules.get(path)
        if made is None:
            made = sys.modules[path] = ModuleType(path, "Names of another library on sqlllm's client.")
            made.__path__ = []
        if index > 1:
            setattr(sys.modules[".".join(parts[: index - 1])], parts[index - 1], made)
    found = sys.modules[name]
    if getattr(found, "__path__", None) == []:
        vars(found).update(names)
    return found


def public(module: ModuleType) -> dict[str, Any]:
    """What a module shows."""
    return {name: getattr(module, name) for name in module.__all__}
