"""What a model folder is for, read from its files."""

from __future__ import annotations

from pathlib import Path

import orjson

# What each is for, as an answer to "it ...".
TASKS = {
    "chat": "writes text",
    "embed": "makes vectors of texts",
    "rerank": "ranks texts",
    "see": "answers about images",
    "transcribe": "writes down speech",
    "speak": "speaks",
    "draw": "makes images",
}


def task(folder: Path) -> str:
    """One of `TASKS`; what has no sign of another, an adapter too, writes text."""
    if (folder / "model_index.json").is_file():  # of diffusers
        return "draw"
    config = folder / "config.json"
    kind = (orjson.loads(config.read_bytes()).get("architectures") or [""])[0] if config.is_file() else ""
    if (folder / "modules.json").is_file():  # of sentence-transformers
        return "embed"
    if not kind or kind.endswith(("ForCausalLM", "LMHeadModel")):
        return "chat"
    if kind.endswith("ForSequenceClassification"):
        return "rerank"
    from transformers.models.auto import modeling_auto as auto

    if kind in auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES.values():
        return "speak"
    if kind in auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES.values():
        return "transcribe"
    if kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values():
        return "see"
    # Those without a head: BertModel, not GPT2LMHeadModel.
    return "embed" if kind in auto.MODEL_MAPPING_NAMES.values() else "chat"
