"""Embeddings with transformers: folders of sentence-transformers (BGE, M3E, MiniLM ...), or any plain encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sqlllm.errors import ModelError

from ...spec import ModelSpec
from .encoding import Encoder, load_encoder
from .requests import parse_fields
from .vectors import EmbeddingRequest, vectors

if TYPE_CHECKING:
    import torch

    from .transformers import Options

_POOLING = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}


class EmbeddingModel:
    """An encoder behind `/v1/embeddings`."""

    def __init__(self, name: str, encoder: Encoder, pooling: str, normalize: bool) -> None:
        self._name, self._encoder, self._pooling, self._normalize = name, encoder, pooling, normalize

    async def embeddings(self, request: dict[str, Any]) -> bytes:
        """A vector for each input, in order."""
        typed = parse_fields(request, EmbeddingRequest)
        inputs = typed.inputs
        typed.check_size(self._encoder.model.config.hidden_size)
        rows, tokens = await self._encoder.run(inputs, self._pool, typed.truncate_prompt_tokens is not None)
        return vectors(self._name, typed, rows, tokens)

    async def check_health(self) -> None:
        """Nothing of it can die alone."""

    def _pool(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """One vector a row."""
        import torch

        states: torch.Tensor = output.last_hidden_state.float()
        present = mask.unsqueeze(-1)
        if self._pooling == "cls":
            vectors = states[torch.arange(len(states)), mask.argmax(1)]  # the first that is not padding
        elif self._pooling == "last":
            last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
            vectors = states[torch.arange(len(states)), last]
        elif self._pooling == "max":
            vectors = states.masked_fill(present == 0, -torch.inf).amax(1)
        else:
            vectors = (states * present).sum(1) / present.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(vectors, dim=-1) if self._normalize else vectors


def load(spec: ModelSpec, options: Options, device: str) -> EmbeddingModel:
    """Read a folder of sentence-transformers or of transformers."""
    from transformers import AutoModel

    folder = Path(spec.model_path)
    pooling, normalize, context = _modules(folder)
    transformer = folder / "0_Transformer"
    encoder = load_encoder(AutoModel, transformer if transformer.is_dir() else folder, options, device, context)
    return EmbeddingModel(
        spec.name,
        encoder,
        options.pooling or pooling,
        normalize if options.normalize is None else options.normalize,
    )


def _modules(folder: Path) -> tuple[str, bool, int | None]:
    """Pooling, whether vectors are normalised, and the most tokens, as sentence-transformers wrote them."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return "mean", True, None
    pooling, normalize = "mean", False
    for module in orjson.loads(modules.read_bytes()):
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(orjson.loads((folder / module["path"] / "config.json").read_bytes()))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ModelError(f"{folder} has a module {kind}, which this engine does not know")
    limits = folder / "sentence_bert_config.json"
    return pooling, normalize, orjson.loads(limits.read_bytes()).get("max_seq_length") if limits.is_file() else None


def _pooling(config: dict[str, Any]) -> str:
    """The one pooling of a folder's `1_Pooling`."""
    written = config.get("pooling_mode")  # of newer versions
    modes = (
        [written]
        if isinstance(written, str)
        else [key for key, on in config.items() if key[:13] == "pooling_mode_" and on]
    )
    names = [{"lasttoken": "last"}.get(mode, _POOLING.get(mode, mode)) for mode in modes]
    if len(names) != 1 or names[0] not in _POOLING.values():
        raise ModelError(f"this engine pools by one of {', '.join(_POOLING.values())}; the folder asks for {names}")
    return str(names[0])
