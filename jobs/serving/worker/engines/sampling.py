"""How the next token of each row of a batch is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import LogitsProcessor

from .grammar import Matcher
from .logprobs import Scored


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 takes the most probable one."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the most probable token is the answer as it is."""
        return self.temperature == 0 and not self.penalizes

    @property
    def penalizes(self) -> bool:
        """Whether earlier tokens change the scores."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


@dataclass(slots=True)
class Row:
    """One answer: its rules, its prompt, what it is held to, and how many log probabilities each token is to have."""

    rules: Sampling
    prompt: list[int]
    matcher: Matcher | None = None
    logprobs: int | None = None
    scored: list[Scored] = field(default_factory=list)  # of the tokens so far

    @property
    def is_plain(self) -> bool:
        """Whether the most probable token is the answer as it is, and nothing else is asked for."""
        return self.rules.is_plain and self.matcher is None and self.logprobs is None

    def restart(self) -> None:
        """Begin again: the batch that it was in has failed."""
        self.scored.clear()
        if self.matcher is not None:
            self.matcher.restart()


class Sampler(LogitsProcessor):
    """Chooses the next token of each row by the row's own rules, and leaves `generate` no other."""

    def __init__(self, rows: list[Row], width: int) -> None:
        """`width` is that of the padded prompts: the answers begin there."""
        self._rows = rows
        self._prompt_width = width
        self._generators = [_generator(row.rules.seed) for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of which only the chosen token is finite."""
        chosen = torch.full_like(scores, -torch.inf)
        logits, answers = scores.float().cpu(), input_ids[:, self._prompt_width :].cpu()
        tokens = []
        for place, row in enumerate(self._rows):
            token = self._choose(logits[place], answers[place], place, row)
            if row.logprobs is not None:
                row.scored.append(_score(logits[place], token, row.logprobs))
            if row.matcher is not None:
                row.matcher.take(token)
            tokens.append(token)
        chosen[range(len(tokens)), tokens] = 0.0
        return chosen

    def _choose(self, logits: torch.Tensor, answer: torch.Tensor, place: int, row: Row) -> int:
        rules = row.rules
        if rules.penalizes:
            logits = _penalize(logits, row.prompt, answer, rules)
        if row.matcher is not None:
            logits = row.matcher.mask(logits)
        if rules.temperature == 0:
            return int(logits.argmax())
        logits = logits / rules.temperature
        if rules.min_p:
            logits[logits < logits.max() + torch.tensor(rules.min_p).log()] = -torch.inf
        if rules.top_k:
            kept = torch.topk(logits, min(rules.top_k, len(logits)))
            logits = torch.full_like(logits, -torch.inf).scatter(0, kept.indices, kept.values)
        probabilities, order = torch.sort(logits.softmax(-1), descending=True)
        if rules.top_p < 1:
            # A token stays if those before it do not reach top_p: the best one always does.
            probabilities[probabilities.cumsum(-1) - probabilities >= rules.top_p] = 0.0
        return int(order[torch.multinomial(probabilities, 1, generator=self._generators[place])])


def _score(logits: torch.Tensor, token: int, best: int) -> Scored:
    """Log probabilities as the model has them, before temperature, penalties and forms, as vLLM gives them."""
    found = logits.log_softmax(-1)
    values, tokens = torch.topk(found, min(best, len(found)))
    return Scored(token, float(found[token]), list(zip(tokens.tolist(), values.tolist(), strict=True)))


def _penalize(logits: torch.Tensor, prompt: list[int], answer: torch.Tensor, rules: Sampling) -> torch.Tensor:
    """Repetition looks at prompt and answer, presence and frequency at the answer only, as in OpenAI's and vLLM's."""
    logits = logits.clone()
    if rules.repetition_penalty != 1:
        seen = torch.cat([torch.tensor(prompt), answer]).unique()  # type: ignore[no-untyped-call]
        values = logits[seen]
        logits[seen] = torch.where(values > 0, values / rules.repetition_penalty, values * rules.repetition_penalty)
    counts = torch.bincount(answer, minlength=len(logits))[: len(logits)]
    return logits - rules.frequency_penalty * counts - rules.presence_penalty * (counts > 0)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator
