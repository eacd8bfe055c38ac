"""Texts as blocks of tokens, none dropped.

Every text is tokenized once, with an end token behind it, and written to files of plain numbers; workers map the files
into memory. So memory does not grow with the table, the number of steps is known before the first one, and which
blocks a step reads follows from its number alone: a run that stops goes on exactly where it was.

A stream of N tokens has N - 1 targets: block i reads the tokens from i * length on and learns each one's next, so
every token but the first is learned exactly once in an epoch. Only the last block is shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlllm.errors import OptionError, TrainingError

from .pretrain_deepspeed import Batch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tokens = NDArray[np.integer[Any]]

COLUMNS = ("text", "value")
"""The column that holds the texts, the first that is there."""

_TOGETHER = 256  # texts tokenized in one call
IGNORED = -100
"""The target where there is nothing to learn, as PyTorch has it."""


class Written(NamedTuple):
    """What became of one source: its rows, those with text in them, and their tokens."""

    rows: int
    documents: int
    tokens: int


def sources(data: Path) -> list[Path]:
    """The files of texts under `data`, in the order that numbers them: Parquet, or Byzer's text files."""
    parquet = sorted(data.glob("*.parquet"))
    return parquet or sorted(path for path in data.rglob("*.txt") if path.is_file())


def texts(source: Path) -> Iterator[str | None]:
    """The rows of one source: of a Parquet file its text column, of a text file its lines."""
    if source.suffix != ".parquet":
        with source.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        column = text_column(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_TOGETHER, columns=[column]):
            for text in batch.column(0).to_pylist():
                if text is not None and not isinstance(text, str):
                    raise _not_text(column, text)
                yield text


def text_column(columns: Sequence[str]) -> str:
    """The column to learn from; OptionError if there is none."""
    for column in COLUMNS:
        if column in columns:
            return column
    raise OptionError(
        f"the table has the columns {', '.join(columns)}, and no text",
        cure="Name the column of texts `text` in a select: select body as text from ...",
        key="inputTable",
    )


def _not_text(column: str, value: object) -> TrainingError:
    return TrainingError(f"{column} is {type(value).__name__}, not text", cure=f"Write: cast({column} as string).")


def write(source: Path, encode: Callable[[list[str]], Iterable[list[int]]], to: Path, vocabulary: int) -> Written:
    """Write the tokens of every text in `source` to `to`. Rows that are null or blank have none."""
    import numpy as np

    dtype = _dtype(vocabulary)
    rows = documents = tokens = 0
    found = texts(source)
    with to.open("wb") as file:
        while several := list(islice(found, _TOGETHER)):
            rows += len(several)
            whole = [text for text in several if text and not text.isspace()]
            for ids in encode(whole) if whole else ():
                documents += 1
                tokens += len(ids)
                file.write(np.asarray(ids, dtype).tobytes())
    return Written(rows, documents, tokens)


def _dtype(vocabulary: int) -> type[np.integer[Any]]:
    import numpy as np

    return np.uint16 if vocabulary <= 2**16 else np.uint32


class Stream:
    """The tokens of several files, one after the other, as blocks."""

    def __init__(self, files: Sequence[Path], length: int, vocabulary: int) -> None:
        import numpy as np

        dtype = _dtype(vocabulary)
        # An empty file cannot be mapped.
        self._parts = [np.memmap(file, dtype, "r") for file in files if file.stat().st_size]
        self._ends = np.cumsum([len(part) for part in self._parts], dtype=np.int64)
        self.length = length
        self.tokens = int(self._ends[-1]) if self._parts else 0

    def __len__(self) -> int:
        return -(-max(0, self.tokens - 1) // self.length)

    def __getitem__(self, block: int) -> Tokens:
        """The tokens of a block and the one behind them: at most `length` + 1, at least 2."""
        import numpy as np

        start = block * self.length
        stop = min(start + self.length + 1, self.tokens)
        found = []
        for part in range(int(np.searchsorted(self._ends, start, side="right")), len(self._parts)):
            first = int(self._ends[part]) - len(self._parts[part])
            if first >= stop:
                break
            found.append(self._parts[part][max(0, start - first) : stop - first])
        return np.concatenate(found)

    def batch(self, blocks: Sequence[int], rows: int) -> tuple[Tokens, Tokens]:
        """Inputs and targets of `blocks`, int64 (rows, length); missing blocks and short ends are not learned."""
        import numpy as np

        inputs = np.zeros((rows, self.length), np.int64)
        targets = np.full((rows, self.length), IGNORED, np.int64)
        for row, block in enumerate(blocks):
            tokens = self[block]
            inputs[row, : len(tokens) - 1] = tokens[:-1]
            targets[row, : len(tokens) - 1] = tokens[1:]
        return inputs, targets


class Share(NamedTuple):
    """Which of the workers that read a stream together this is; the only one if it reads its own."""

    rank: int
    workers: int


class Order(NamedTuple):
    """Which blocks a worker reads in each step. All workers do the same number of steps, whatever they have to read."""

    blocks: int
    """Of the stream; of the longest one if every worker reads its own."""
    batch: Batch
    share: Share
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.blocks // (self.batch.micro * self.batch.accumulation * self.share.workers))

    def epoch(self, number: int, blocks: int) -> Tokens:
        """The `blocks` of a stream in the order of epoch `number`, from 0."""
        import numpy as np

        return np.random.default_rng((self.seed, number)).permutation(blocks)

    def step(self, order: Tokens, number: int) -> list[list[int]]:
        """The blocks of each micro-batch of step `number` of an epoch, from 0; fewer, or none, at its end."""
        micro, accumulation = self.batch
        found = []
        for turn in range(accumulation):
            start = ((number * accumulation + turn) * self.share.workers + self.share.rank) * micro
            found.append([int(block) for block in order[start : start + micro]])
        return found
