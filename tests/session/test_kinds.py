"""pretrainedModelType of a model that runs here: which engine, and which folder it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlllm.errors import OptionError
from sqlllm.session.llm import kinds
from sqlllm.session.llm.infer import check, engine_options

_ARCHITECTURES = {
    "chat": "LlamaForCausalLM",
    "embed": "BertModel",
    "rerank": "BertForSequenceClassification",
    "see": "Qwen2VLForConditionalGeneration",
    "speak": "BarkModel",
    "transcribe": "WhisperForConditionalGeneration",
}


def folder(at: Path, task: str) -> str:
    """A folder as far as its type is read."""
    if task == "draw":
        (at / "model_index.json").write_text("{}")
        return str(at)
    (at / "config.json").write_text(json.dumps({"architectures": [_ARCHITECTURES[task]]}))
    return str(at)


@pytest.mark.parametrize(
    ("kind", "task", "engine"),
    [
        ("", "chat", None),
        ("custom/auto", "chat", None),
        ("custom/auto", "rerank", "transformers"),
        ("custom/llama2", "chat", None),
        ("custom/bge", "embed", "transformers"),
        ("custom/m3e", "embed", "transformers"),
        ("m3e", "embed", "transformers"),
        ("custom/bge_rerank", "rerank", "transformers"),
        ("custom/qwen_vl_chat", "see", None),
        ("bark", "speak", "transformers"),
        ("whisper", "transcribe", "transformers"),
        ("custom/stable_diffusion", "draw", "transformers"),
    ],
)
def test_a_type_that_the_folder_bears_out(kind: str, task: str, engine: str | None, tmp_path: Path) -> None:
    assert kinds.engine(kind, folder(tmp_path, task)) == engine


def test_a_folder_on_another_machine_is_taken_at_its_word() -> None:
    assert kinds.engine("custom/bge", "/on/the/worker") == "transformers"
    assert kinds.engine("custom/llama2", "/on/the/worker") is None
    assert kinds.engine("custom/llama2", "/on/the/worker/model.gguf") == "llama_cpp"
    assert kinds.engine("llama_cpp", "/on/the/worker") == "llama_cpp"


def test_engine_options_as_byzer_llm_writes_them() -> None:
    given = {"quatization": "4", "backend.dtype": "float32", "num_gpu_layers": "0", "udfName": "chat"}
    check(given)
    assert engine_options(given) == {
        "backend.quantization": "4",
        "backend.dtype": "float32",
        "backend.num_gpu_layers": "0",
    }
    assert engine_options({"backend.quatization": "8"}) == {"backend.quantization": "8"}
    with pytest.raises(OptionError, match=r"is backend\.quantization, which is there already"):
        engine_options({"quatization": "4", "backend.quantization": "8"})


@pytest.mark.parametrize(
    ("kind", "task", "said"),
    [
        ("custom/bge", "chat", "custom/bge makes vectors of texts, but the model in .* writes text"),
        ("custom/llama2", "embed", "custom/llama2 writes text, but the model in .* makes vectors of texts"),
        ("custom/bge_rerank", "embed", "ranks texts, but"),
        ("custom/lama2", "chat", "(?s)unknown pretrainedModelType custom/lama2.*custom/llama2"),
        ("bge", "embed", "(?s)unknown pretrainedModelType bge.*custom/bge"),
        ("custom/tokenizer", "chat", "(?s)custom/tokenizer is not a model that is served.*explain llm"),
    ],
)
def test_a_type_that_does_not_fit(kind: str, task: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=said) as raised:
        kinds.engine(kind, folder(tmp_path, task))
    assert raised.value.key == "pretrainedModelType"
