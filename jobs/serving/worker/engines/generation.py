"""Batched generation with `transformers`: requests that arrive together go through the model together.

One thread owns the model. It takes the waiting prompts that fit into the memory allowed for the KV cache, pads them on
the left and calls `generate` once. Each row keeps its own limits, stop strings, sampling and seed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from transformers import StoppingCriteria

from ...protocol import RequestError
from .logprobs import Scored
from .sampling import Row, Sampler, Sampling
from .together import failure

if TYPE_CHECKING:
    import torch

    from .grammar import Matcher

logger = logging.getLogger(__name__)


class Answer:
    """One prompt and its answer: written by the generating thread, read in the event loop as pieces of text."""

    def __init__(
        self,
        prompt: list[int],
        max_tokens: int,
        sampling: Sampling,
        stop: tuple[str, ...] = (),
        inputs: dict[str, torch.Tensor] | None = None,
        matcher: Matcher | None = None,
        logprobs: int | None = None,
    ) -> None:
        """`inputs` are of images: a value for each token of the prompt, or one for each image or part of one.

        `matcher` holds the answer to a form; `logprobs` of the most probable tokens are kept with each of its own.
        """
        self.prompt = prompt
        self.row = Row(sampling, prompt, matcher, logprobs)
        self.inputs = inputs or {}
        self.max_tokens = max_tokens
        self.stop = stop
        self.streams = False  # whether pieces are wanted as they come
        self.cancelled = False
        self.tokens = 0  # of the answer, with the end token
        self.finish_reason = "length"
        self.stop_reason: str | None = None  # the stop string that ended it
        self.texts: list[str] = []
        self._pending: list[int] = []
        self._shown = 0  # characters of `_pending` that have gone into `_held`
        self._held = ""  # text that may turn out to be the start of a stop string
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[str | RequestError | None] = asyncio.Queue()

    @property
    def scored(self) -> list[Scored]:
        """The log probabilities of its tokens, if they were asked for."""
        return self.row.scored[: self.tokens]

    @property
    def kind(self) -> list[tuple[str, Any]]:
        """What those have in common that can share a batch: their inputs can be laid behind each other."""
        length = len(self.prompt)
        return [(name, None if _is_by_token(value, length) else value.shape[1:]) for name, value in self.inputs.items()]

    async def __aiter__(self) -> AsyncIterator[str]:
        """The pieces; raises what ended the generation, if anything did."""
        while (piece := await self._pieces.get()) is not None:
            if isinstance(piece, RequestError):
                raise piece
            yield piece

    def put(self, piece: str | RequestError | None) -> None:
        """Hand a piece, a failure or the end (None) to the reader."""
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

    def add(self, token: int, ends: bool, decode: Callable[[list[int]], str]) -> bool:
        """Take the next token; whether the answer is done."""
        self.tokens += 1
        if ends:
            self.finish_reason = "stop"
        else:
            self._pending.append(token)
            if self.streams or self.stop:
                self._decode(decode, last=False)
        return self.finish_reason == "stop" or self.tokens >= self.max_tokens or self.cancelled

    def flush(self, decode: Callable[[list[int]], str]) -> None:
        """Give out the text that was held back."""
        self._decode(decode, last=True)

    def _decode(self, decode: Callable[[list[int]], str], last: bool) -> None:
        text = decode(self._pending)
        if text.endswith("\ufffd") and not last:  # part of a character; the next token completes it
            return
        self._held += text[self._shown :]
        self._shown = len(text)
        if len(self._pending) > 16 and not last:
            # Decode a short tail only: the last token stays, because a tokenizer may merge spaces into the next.
            self._pending = self._pending[-1:]
            self._shown = len(decode(self._pending))
        self._cut(last)

    def _cut(self, last: bool) -> None:
        """Give out what no stop string can reach any more."""
        ends = [(at, stop) for stop in self.stop if (at := self._held.find(stop)) >= 0]
        if ends:
            at, self.stop_reason = min(ends)
            text, self._held, self.finish_reason = self._held[:at], "", "stop"
        else:
            keep = 0 if last else max((len(stop) - 1 for stop in self.stop), default=0)
            split = len(self._held) - min(keep, len(self._held))
            text, self._held = self._held[:split], self._held[split:]
        if text:
            self.put(text)


class Batcher:
    """The thread that owns the model, and the prompts that wait for it."""

    def __init__(self, model: Any, tokenizer: Any, *, max_batch_size: int, kv_cache_memory_bytes: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_rows = max_batch_size
        self._max_tokens = max(1, kv_cache_memory_bytes // _bytes_per_token(model.config))
        self.ends = _end_tokens(model, tokenizer)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.ends, default=0)
        self._waiting: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    def submit(self, *answers: Answer) -> None:
        """Queue answers; those of one call are likely to share a batch."""
        with self._changed:
            self._waiting.extend(answers)
            self._changed.notify()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                batch = self._take()
            self._answer(batch)

    def _answer(self, batch: list[Answer]) -> None:
        """Answer a batch; if it fails, those that have no token yet are tried one by one."""
        again: list[Answer] = []
        try:
            self._generate(batch)
        except Exception as error:  # whatever a model's code raises: nobody waits for ever
            logger.exception("a batch of %d prompts failed", len(batch))
            again = [answer for answer in batch if len(batch) > 1 and not answer.tokens]
            for answer in batch:
                if answer not in again:
                    answer.put(failure(error))
        for answer in again:  # not above: there, what the batch held is still in memory
            answer.row.restart()
            self._answer([answer])

    def _take(self) -> list[Answer]:
        """The next batch: oldest first, as many as fit."""
        batch: list[Answer] = []
        width = 0
        while self._waiting and len(batch) < self._max_rows:
            answer = self._waiting[0]
            wider = max(width, len(answer.prompt) + answer.max_tokens)
            if batch and (wider * (len(batch) + 1) > self._max_tokens or answer.kind != batch[0].kind):
                break
            width = wider
            batch.append(self._waiting.popleft())
        return batch

    def _generate(self, batch: list[Answer]) -> None:
        import torch

        for answer in batch:
            if answer.cancelled:
                answer.put(None)
        live = [answer for answer in batch if not answer.cancelled]
        if live:
            width = max(len(answer.prompt) for answer in live)
            ids = torch.full((len(live), width), self._pad)
            mask = torch.zeros_like(ids)
            for row, answer in enumerate(live):
                ids[row, width - len(answer.prompt) :] = torch.tensor(answer.prompt)
                mask[row, width - len(answer.prompt) :] = 1
            rows = [answer.row for answer in live]
            samplers = [] if all(row.is_plain for row in rows) else [Sampler(rows, width)]
            with torch.inference_mode():
                self._model.generate(
                    input_ids=ids.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                    generation_config=self._config(max(answer.max_tokens for answer in live)),
                    logits_processor=samplers,
                    stopping_criteria=[Progress(live, self.ends, self._decode)],
                    **self._inputs(live, width),
                )

    def _inputs(self, live: list[Answer], width: int) -> dict[str, torch.Tensor]:
        """The inputs of images, those of all rows together."""
        import torch

        found = {}
        for name in live[0].inputs:
            values = [answer.inputs[name] for answer in live]
            if _is_by_token(values[0], len(live[0].prompt)):
                pad = torch.nn.functional.pad
                values = [
                    pad(value, (width - len(answer.prompt), 0)) for value, answer in zip(values, live, strict=True)
                ]
            value = torch.cat(values).to(self._model.device)
            found[name] = value.to(self._model.dtype) if value.is_floating_point() else value
        return found

    def _config(self, max_new_tokens: int) -> Any:
        """Greedy: the sampler leaves one token to choose from. Progress ends the rows, so there is no end token."""
        from transformers import GenerationConfig

        one: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        return GenerationConfig(max_new_tokens=max_new_tokens, pad_token_id=self._pad, **one)  # type: ignore[no-untyped-call]

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


class Progress(StoppingCriteria):
    """Sees each step of `generate`: hands out the text and ends each row at its own end."""

    def __init__(self, answers: list[Answer], ends: frozenset[int], decode: Callable[[list[int]], str]) -> None:
        self._answers = answers
        self._ends = ends
        self._decode = decode
        self._done = [False] * len(answers)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which rows are done."""
        import torch

        for row, token in enumerate(input_ids[:, -1].tolist()):
            answer = self._answers[row]
            if not self._done[row] and answer.add(token, token in self._ends, self._decode):
                self._done[row] = True
                answer.flush(self._decode)
                answer.put(None)  # at once: its neighbours may go on for long
        return torch.tensor(self._done, device=input_ids.device)


def _is_by_token(value: torch.Tensor, length: int) -> bool:
    """Whether it has a value for each token of the prompt."""
    return tuple(value.shape) == (1, length)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """All tokens that end an answer, by the model's generation settings and by the tokenizer."""
    ends = model.generation_config.eos_token_id
    found = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return frozenset(token for token in found if token is not None)


def _bytes_per_token(config: Any) -> int:
    """Bytes of KV cache that one token takes, over all layers."""
    import torch

    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    element = (config.dtype or torch.float32).itemsize
    return int(2 * text.num_hidden_layers * heads * size * element)
