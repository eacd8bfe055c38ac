"""What a client may wish to know of a model, in the words of Byzer-LLM's `get_meta`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from ..spec import ModelSpec
from .engines import gguf_header


def meta(spec: ModelSpec) -> dict[str, Any]:
    """As far as the model's folder and the engine's options show it; what they do not show is None."""
    config, template = _told(spec.model_path) if spec.model_path else ({}, False)
    told = spec.engine_options.get("max_model_len") or config.get("max_position_embeddings")
    return {
        "model_name": spec.name,
        "model_deploy_type": "proprietary" if config else "saas",
        "backend": spec.engine,
        "architectures": config.get("architectures"),
        "max_model_len": int(told) if told else None,
        "support_stream": True,
        "support_chat_template": template,
        "message_format": True,
    }


@lru_cache
def _told(path: str) -> tuple[dict[str, Any], bool]:
    """The model's configuration in Hugging Face's words, and whether it has a chat template."""
    folder = Path(path)
    if (file := gguf_header.find(folder)) and file.is_file():
        header = gguf_header.read(file)
        config = {
            "architectures": [header.get("general.architecture")],
            "max_position_embeddings": gguf_header.context(header),
        }
        return config, "tokenizer.chat_template" in header
    tokenizer = _read(folder / "tokenizer_config.json")
    return _read(folder / "config.json"), (folder / "chat_template.jinja").is_file() or "chat_template" in tokenizer


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found
