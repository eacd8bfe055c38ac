"""One SQL dialect for the whole life of a language model: train, deploy and call it over tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import SQLLLMError
from .version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .client import LLM as LLM
    from .client import Chat as Chat
    from .client import Image as Image
    from .client import Index as Index
    from .client import Messages as Messages
    from .client import Sound as Sound
    from .client import Template as Template
    from .client import Tool as Tool
    from .client import prompt as prompt
    from .session import Session, connect

__all__ = ["SQLLLMError", "Session", "__version__", "connect"]

# The session brings Spark and Ray, the client httpx: each is loaded when it is first used.
_CLIENT = frozenset({"LLM", "Chat", "Image", "Index", "Messages", "Sound", "Template", "Tool", "prompt"})


def __getattr__(name: str) -> object:
    if name in {"Session", "connect"}:
        from . import session

        return getattr(session, name)
    if name in _CLIENT:
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext sqlllm`: the magics `%llm` and `%%llm`."""
    from .console.jupyter import magics

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext sqlllm` ends the magics' session."""
    from .console.jupyter import magics

    magics.unload(shell)
