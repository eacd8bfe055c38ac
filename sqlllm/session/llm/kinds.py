"""pretrainedModelType of a model that runs here: Byzer-LLM's names, which the folder must bear out."""

from __future__ import annotations

from pathlib import Path

from sqlllm.errors import OptionError, suggest
from sqlllm.jobs.serving.worker.engines import gguf_header
from sqlllm.jobs.serving.worker.engines.folders import TASKS, task

PREFIX = "custom/"
# What a model of that name does; the rest, its layout and its chat template, is in the folder.
_TASKS = {
    **dict.fromkeys(
        ("alpha_moss", "baichuan", "chatglm2", "falcon", "llama", "llama2", "qwen", "starcode", "zephyr"), "chat"
    ),
    "bge": "embed",
    "m3e": "embed",
    "bge_rerank": "rerank",
    "qwen_vl_chat": "see",
    "visualglm": "see",
    "whisper": "transcribe",
    "sensevoice": "transcribe",
    "qwen_voice": "transcribe",
    "bark": "speak",
    "stable_diffusion": "draw",
}
_BARE = {  # older scripts write them without `custom/`
    **dict.fromkeys(("chatglm", "moss", "falcon", "llama", "dolly"), "chat"),
    "m3e": "embed",
    "whisper": "transcribe",
    "bark": "speak",
}
_ELSEWHERE = {
    "custom/tokenizer": "A model's tokens are counted by explain llm, with the model deployed.",
    "qa": "Embed with custom/bge, rank with custom/bge_rerank, and ask a chat model.",
}
_LLAMA_CPP = ("llama_cpp", "custom/llama_cpp", "ray/llama_cpp")  # a GGUF file, whatever it holds
_ON_TRANSFORMERS = ("embed", "rerank", "transcribe", "speak", "draw")
NAMES = ("custom/auto", _LLAMA_CPP[0], *(PREFIX + name for name in _TASKS), *_BARE)


def engine(kind: str, folder: str) -> str | None:
    """The engine that a model of this type runs on when none is named; None for the usual one.

    Raises: OptionError for an unknown type, or for a folder, if it can be seen from here, that holds another.
    """
    file = gguf_header.find(Path(folder)) if folder else None
    if kind in ("", "custom/auto", *_LLAMA_CPP):
        expected = None
    elif kind in _ELSEWHERE:
        raise OptionError(f"{kind} is not a model that is served", cure=_ELSEWHERE[kind], key="pretrainedModelType")
    else:
        expected = _BARE.get(kind) or (_TASKS.get(kind.removeprefix(PREFIX)) if kind.startswith(PREFIX) else None)
        if expected is None:
            cure = suggest(kind, NAMES, what="types") + " custom/auto goes by what the folder holds."
            raise OptionError(f"unknown pretrainedModelType {kind}", cure=cure, key="pretrainedModelType")
    found: str | None
    if file and file.is_file():
        found = gguf_header.kind(gguf_header.read(file))
    else:
        found = task(Path(folder)) if kind and folder and Path(folder).is_dir() else expected
    if expected and found and expected != found:
        raise OptionError(
            f"{kind} {TASKS[expected]}, but the model in {folder} {TASKS[found]}",
            cure='Name another folder in localModelDir, or write pretrainedModelType="custom/auto".',
            key="pretrainedModelType",
        )
    if file or kind in _LLAMA_CPP:
        return "llama_cpp"
    return "transformers" if found in _ON_TRANSFORMERS else None
