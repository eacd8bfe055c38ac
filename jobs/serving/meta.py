"""What a client may wish to know of a model, in the words of Byzer-LLM's `get_meta`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from .spec import ModelSpec


def meta(spec: ModelSpec) -> dict[str, Any]:
    """As far as the model's folder and the engine's options tell it; what they do not tell is None."""
    config = _read(Path(spec.model_path) / "config.json") if spec.model_path else {}
    template = Path(spec.model_path) / "chat_template.jinja"
    told = spec.engine_options.get("max_model_len") or config.get("max_position_embeddings")
    return {
        "model_name": spec.name,
        "model_deploy_type": "proprietary" if config else "saas",
        "backend": spec.engine,
        "architectures": config.get("architectures"),
        "max_model_len": int(told) if told else None,
        "support_stream": True,
        "support_chat_template": template.is_file()
        or "chat_template" in _read(Path(spec.model_path) / "tokenizer_config.json"),
        "message_format": True,
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found
