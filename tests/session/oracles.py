"""A model that knows what a test knows, as the prompts of the semantic operators ask it, and is as wrong as stated.

It can leave out answers, be cut, and refuse texts. Its answers depend on the prompt alone.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlllm.session.operators.blocks import Reply
from sqlllm.udfs.requests import RequestError

Same = Callable[[str, str], bool]


@dataclass
class Oracle:
    """Knows which texts of two sides, or which records, are the `same`; wrong about a share `error` of the pairs.

    `forgets`: a share of the lines of its answers is left out, others the next time. `longest`: characters of an
    answer. `refuses`: a text for which a prompt has no answer at all.
    """

    same: Same
    error: float = 0.0
    forgets: float = 0.0
    longest: int = 1_000_000
    refuses: str = "\0"
    form: str = "lines"
    prompts: list[str] = field(default_factory=list)
    pairs: int = 0
    tokens: int = 0

    def ask(self, prompts: Sequence[str]) -> list[Reply]:
        return [self.answer(prompt) for prompt in prompts]

    def answer(self, prompt: str) -> Reply:
        self.prompts.append(prompt)
        if self.refuses in prompt:
            return RequestError("refusal", "the model refuses")
        if prompt.startswith("Find all pairs"):
            said = self._linked(prompt)
        elif prompt.startswith("Sort these records"):
            said = self._grouped(prompt)
        elif prompt.startswith("Each group holds"):
            said = [f"C{number}: Topic {number}" for number in re.findall(r"^Group C(\d+)", prompt, re.MULTILINE)]
        else:
            one, other = re.findall(r"<(.*?)>", prompt, re.DOTALL)
            said = [str(self.judges(one, other)).lower()]
            self.tokens += len(prompt) // 4 + 1
            return said[0]
        kept = [
            line
            for line in said
            if len(said) < 3 or not self._chance(f"{len(self.prompts)} {line} {prompt}") < self.forgets
        ]
        text = "\n".join([*kept, "END"])
        self.tokens += len(prompt) // 4 + len(text) // 4
        return text[: self.longest]

    def judges(self, one: str, other: str) -> bool:
        self.pairs += 1
        wrong = self._chance(f"{one} {other}") < self.error
        return self.same(_plain(one), _plain(other)) != wrong

    def _linked(self, prompt: str) -> list[str]:
        said: list[str] = []
        for group in re.split(r"\nGroup \d+\n", prompt.partition("\n\nWrite one line")[0]):
            rights = re.findall(r"^(R\d+): (.*)$", group, re.MULTILINE)
            for left, text in re.findall(r"^(L\d+): (.*)$", group, re.MULTILINE):
                found = [right for right, other in rights if self.judges(text, other)]
                if self.form == "json":
                    said.append(f'"{left}": [{", ".join(map(repr, found))}],'.replace("'", '"'))
                else:
                    said.append(f"{left}: {', '.join(found) or 'none'}")
        return said

    def _grouped(self, prompt: str) -> list[str]:
        groups: list[list[tuple[str, str]]] = []
        for number, text in re.findall(r"^(\d+): (.*)$", prompt, re.MULTILINE):
            mine = next((group for group in groups if self.judges(group[0][1], text)), None)
            if mine is None:
                groups.append(mine := [])
            mine.append((number, text))
        return [", ".join(number for number, _ in group) for group in groups]

    @staticmethod
    def _chance(text: str) -> float:
        """A number from 0 to 1 that a text always has."""
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _plain(text: str) -> str:
    """A row that is written as JSON, as it was."""
    return str(json.loads(text)) if text.startswith('"') else text


def alike(one: str, other: str) -> bool:
    """What the deployed oracle thinks of two texts: it ignores case and what is not a letter or a digit."""
    return re.sub(r"\W", "", one).lower() == re.sub(r"\W", "", other).lower()


def answer(prompt: str) -> str:
    """The function of an oracle that is deployed. One text makes it fail."""
    said = Oracle(alike, refuses="cursed").answer(prompt)
    if not isinstance(said, str):
        raise ValueError(said)
    return said


def companies(count: int, seed: int = 3) -> dict[str, str]:
    """Three spellings of each name, and the name of each spelling."""
    chance = random.Random(seed)
    first = ["Acme", "Globex", "Initech", "Umbrella", "Stark", "Wayne", "Hooli", "Soylent", "Tyrell", "Oscorp", "Bluth"]
    second = ["Systems", "Foods", "Motors", "Media", "Power", "Textiles", "Pharma", "Mining", "Robotics", "Banking"]
    names = sorted({f"{one} {other}" for one in first for other in second})
    spellings = ("{} Inc.", "{} Incorporated", "{} Co")
    chosen = chance.sample(names, count)
    return {
        form.format(name.upper() if at == 1 else name.replace(" ", "-") if at == 2 else name): name
        for name in chosen
        for at, form in enumerate(spellings)
    }
