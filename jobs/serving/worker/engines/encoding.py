"""What encoders share: whole batches of texts through a model, in its own thread, without generation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...protocol import CONTEXT_LENGTH_EXCEEDED, RequestError
from .loading import arguments, reasons, weights

if TYPE_CHECKING:
    import torch

    from .transformers import Options

Texts = str | list[int] | tuple[str, str]


class Encoder:
    """A model and its tokenizer, behind a thread that runs one batch at a time."""

    def __init__(self, model: Any, tokenizer: Any, context: int, rows: int) -> None:
        """`context` is the most tokens of a text, `rows` the most texts of a batch."""
        self.model, self.context = model, context
        self._tokenizer, self._rows = tokenizer, rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoding")

    async def run(
        self, texts: Sequence[Texts], read: Callable[[Any, torch.Tensor], torch.Tensor], truncate: bool
    ) -> tuple[list[Any], int]:
        """What `read` makes of the model's output and the attention mask, row by row as lists; tokens in all.

        RequestError if a text is longer than the context and `truncate` does not allow to cut it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, texts, read, truncate)

    def _run(
        self, texts: Sequence[Texts], read: Callable[[Any, torch.Tensor], torch.Tensor], truncate: bool
    ) -> tuple[list[Any], int]:
        import torch

        ids = self._tokens(texts, truncate)
        lengths = [len(row) for row in ids["input_ids"]]
        for index, length in enumerate(lengths):
            if not length:
                raise RequestError(f"input[{index}] has no tokens; leave it out", param="input")
            if length > self.context:
                raise RequestError(
                    f"the model's context is {self.context} tokens; input {index} has {length};"
                    " truncate_prompt_tokens=-1 cuts it",
                    param="input",
                    code=CONTEXT_LENGTH_EXCEEDED,
                )
        rows: list[Any] = [None] * len(texts)
        order = sorted(range(len(texts)), key=lengths.__getitem__)  # of like length together: less padding
        for start in range(0, len(order), self._rows):
            places = order[start : start + self._rows]
            batch = {name: [values[place] for place in places] for name, values in ids.items()}
            padded = self._tokenizer.pad(batch, return_tensors="pt").to(self.model.device)
            with torch.inference_mode():
                read_rows = read(self.model(**padded), padded["attention_mask"]).float().cpu()
            for place, row in zip(places, read_rows.numpy(), strict=True):
                rows[place] = row
        return rows, sum(lengths)

    def _tokens(self, texts: Sequence[Texts], truncate: bool) -> Mapping[str, list[list[int]]]:
        """The tokens of all texts, and what else the model takes; tokens that are given stay as they are."""
        if isinstance(texts[0], list):
            rows: list[list[int]] = [list(row[: self.context] if truncate else row) for row in texts]  # type: ignore[arg-type]
            known = self.model.config.get_text_config().vocab_size
            for index, row in enumerate(rows):
                if strange := next((token for token in row if not 0 <= token < known), None):
                    raise RequestError(
                        f"input[{index}] has the token {strange}; the model's vocabulary is 0 to {known - 1}."
                        " Tokens are those of the model's own tokenizer; with another one send texts",
                        param="input",
                    )
            return {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
        firsts = [text[0] if isinstance(text, tuple) else text for text in texts]
        seconds = [text[1] for text in texts] if isinstance(texts[0], tuple) else None
        limit = {"truncation": True, "max_length": self.context} if truncate else {"truncation": False}
        found: Mapping[str, list[list[int]]] = self._tokenizer(firsts, seconds, verbose=False, **limit)
        return found


def load_encoder(kind: Any, folder: Path, options: Options, device: str, context: int | None = None) -> Encoder:
    """The model in `folder`, read by the transformers class `kind`; ModelError if it does not load."""
    from transformers import AutoTokenizer

    with reasons():
        tokenizer = AutoTokenizer.from_pretrained(folder, **arguments(options))
    model = weights(kind, folder, options, device, unused="pooler")  # no pooling here reads it
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    config = model.config.get_text_config()
    own = min(getattr(config, "max_position_embeddings", None) or 512, tokenizer.model_max_length)
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):  # positions begin behind the padding's
        own = min(own, config.max_position_embeddings - config.pad_token_id - 1)
    return Encoder(model, tokenizer, options.max_model_len or min(context or own, own), options.max_batch_size)
