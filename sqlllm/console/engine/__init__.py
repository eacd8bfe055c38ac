"""Scripts over HTTP: `sqlllm engine` answers Byzer's /run/script and /model/predict, for schedulers and other tools."""

from .app import application
from .jobs import Engine

__all__ = ["Engine", "application"]
