"""What the pages about engines say, against the engines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import ModelError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.worker.engines import check_folder, deepspeed, get_engine, llama_cpp, oracle, transformers
from sqlllm.jobs.serving.worker.engines.llama_cpp_model import LlamaCppModel
from sqlllm.jobs.serving.worker.engines.oracle import OracleModel
from sqlllm.jobs.serving.worker.engines.remote.openai import OpenAIModel
from sqlllm.jobs.serving.worker.engines.transformers_chat import TransformersModel
from sqlllm.jobs.serving.worker.engines.transformers_embed import EmbeddingModel
from sqlllm.jobs.serving.worker.engines.transformers_rank import RankingModel
from sqlllm.jobs.serving.worker.engines.vllm import VLLMModel

DOCS = Path(__file__).parents[2] / "docs" / "serving"
MODELS: dict[str, tuple[type, ...]] = {
    "vllm": (VLLMModel,),
    "transformers": (TransformersModel, EmbeddingModel, RankingModel),
    "llama_cpp": (LlamaCppModel,),
    "deepspeed": (TransformersModel,),
    "oracle": (OracleModel,),
    "remote": (OpenAIModel,),
}
OPTIONS: dict[str, Any] = {
    "transformers": transformers.Options.model_fields,
    "llama-cpp": llama_cpp.NAMES,
    "oracle": oracle.Options.model_fields,
    "deepspeed": deepspeed.Options.model_fields.keys() - transformers.Options.model_fields,
}


def test_the_table_of_engines() -> None:
    found = {}
    for line in (DOCS / "index.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| [") and len(cells) == 7:
            name = re.findall(r"`(?:ray/)?(\w+)`", cells[1])[0]
            found[name] = [cell == "yes" for cell in cells[3:]]
    expected = {
        name: [
            *(any(hasattr(kind, route) for kind in kinds) for route in ("chat", "embeddings", "rerank")),
            getattr(get_engine(name), "constrains", True),
        ]
        for name, kinds in MODELS.items()
    }
    assert found == expected


@pytest.mark.parametrize("page", OPTIONS)
def test_every_option_is_on_its_engine_s_page(page: str) -> None:
    words = set(re.findall(r"\w+", (DOCS / f"{page}.md").read_text()))
    assert not set(OPTIONS[page]) - words


def test_weights_that_are_a_link_to_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"model\.safetensors is cut short or damaged") as caught:
        check_folder(ModelSpec(name="m", model_path=str(tmp_path)))
    assert "Copy it again" in caught.value.cure
