"""llguidance: which tokens may come next in an answer that is held to a form."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import orjson

from sqlllm.errors import PackageError

from ...protocol import RequestError
from .held import COMPACT, Held

if TYPE_CHECKING:
    import torch
    from llguidance._lib import JsonCompileOptions


class Grammars:
    """The grammars of one tokenizer. Made when the first answer is to be held: a large vocabulary takes a second."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]) -> None:
        try:
            import llguidance
            import llguidance.hf
        except ImportError as error:
            raise PackageError.from_import_error(error, package="llguidance", extra="ray") from error
        self._library = llguidance
        try:
            self.tokens: Any = llguidance.hf.from_tokenizer(
                tokenizer, n_vocab=vocabulary, eos_token=sorted(ends) or None
            )
        except ValueError as error:
            raise RequestError(f"answers of this model cannot be held to a form: {error}") from None
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def matcher(self, held: Held) -> Matcher:
        """A new matcher; RequestError for a form that llguidance does not take. Slow for a large schema."""
        return Matcher(self._compiled(held.kind, orjson.dumps(held.value)).deep_copy())

    def text(self, token: int) -> bytes:
        """The bytes of a token, as they stand in a text."""
        return bytes(self.tokens.decode_bytes([token]))

    def _compile(self, kind: str, value: bytes) -> Any:
        matcher, given = self._library.LLMatcher, Held(kind, orjson.loads(value))  # type: ignore[arg-type]
        try:
            if kind == "json":
                grammar = matcher.grammar_from_json_schema(
                    value.decode(), overrides=cast("JsonCompileOptions", COMPACT)
                )
            elif kind == "grammar":
                grammar = self._library.grammar_from("grammar", given.value)
            else:
                grammar = matcher.grammar_from_regex(given.regex if kind == "choice" else given.value)
        except ValueError as error:
            raise RequestError(f"the answer cannot be held to this form: {error}") from None
        made = matcher(self.tokens, grammar, log_level=0)
        if made.is_error():
            first = made.get_error().strip().partition("\n")[0]
            raise RequestError(f"the answer cannot be held to this form: {first}")
        return made


class Matcher:
    """One answer on its way through its form."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._ended = False

    def mask(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits, of tokens that may not come next minus infinity. Float32, one row, on the CPU."""
        import torch

        if self._ended:
            return logits
        bits = torch.frombuffer(bytearray(self._state.compute_bitmask()), dtype=torch.uint8)
        allowed = ((bits.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1).flatten().bool()
        masked = torch.full_like(logits, -torch.inf)
        size = min(len(allowed), len(logits))
        masked[:size] = logits[:size].masked_fill(~allowed[:size], -torch.inf)
        return masked

    def restart(self) -> None:
        """Go back to the beginning."""
        self._state.reset()
        self._ended = False

    def take(self, token: int) -> None:
        """The token that was chosen."""
        if not self._ended:
            self._ended = self._state.is_stopped() or not self._state.consume_token(token)
