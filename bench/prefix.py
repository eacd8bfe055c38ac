"""How much of the prompts a prefix cache serves: `python -m bench.prefix`.

With `--csv FILE --columns a,b --instruction TEXT` on any table; without, on a generated table.

Prompts are built from the columns of a table, one line per column after the instruction, and go through a simulated
block cache: 16 tokens a block, 500 blocks per replica, the least recently used ones go first. A token is four
characters. Natural order against ours: fields by `llm.reorder_fields`, prompts sorted in each of four tasks. Batches go
round the replicas; the last line shows what there would be to win if each replica got a range of all prompts.

`--check` sends prompts to vLLM on this machine and compares its own hit counters with the simulator's on the same
tokens, in blocks of 128 tokens, as vLLM has them on a CPU.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path
from zlib import crc32

from sqlllm.jobs.serving.gateway.prefixes import Prefixes, keys_of
from sqlllm.planner.fields import SAMPLE, field_order
from sqlllm.udfs.ordering import prefix_order

from . import report

BLOCK = 16
BLOCKS = 500
CHECK_BLOCK, CHECK_BLOCKS = 128, 63  # as vLLM has them on a CPU; as many tokens in all
CHARACTERS = 4  # of a token, unless a tokenizer says otherwise
BATCH = 32  # conversations that travel together, as llm.batch_size has it
IN_FLIGHT = 64  # batches under way: four tasks, each with as many as llm.in_flight says
INSTRUCTION = "Below is what is known of a film and what a critic wrote about it. Say whether the critic recommends it."


class Replica:
    """The block cache of one replica, as vLLM keeps it: full blocks, found by all that stands before them."""

    def __init__(self, block: int = BLOCK, blocks: int = BLOCKS) -> None:
        self._block, self._blocks = block, blocks
        self._cached: OrderedDict[Hashable, None] = OrderedDict()
        self.hits = self.tokens = 0

    def ask(self, prompt: Sequence[Hashable]) -> None:
        """One prompt, as its tokens."""
        self.tokens += len(prompt)
        keys, before = list[int](), 0
        for start in range(0, len(prompt) - self._block + 1, self._block):
            before = hash((before, tuple(prompt[start : start + self._block])))
            keys.append(before)
        hit = 0
        while hit < min(len(keys), (len(prompt) - 1) // self._block) and keys[hit] in self._cached:
            hit += 1
        self.hits += hit * self._block
        for key in reversed(keys):  # the end of a prompt is given up before its start
            self._cached[key] = None
            self._cached.move_to_end(key)
        while len(self._cached) > self._blocks:
            self._cached.popitem(last=False)


def ratio(texts: Sequence[str], replicas: int, way: str = "round_robin") -> float:
    """Share of tokens found in the cache; batches go round the replicas, by their prefix, or each gets a range."""
    pool, share = [Replica() for _ in range(replicas)], -(-len(texts) // replicas)
    places = routed(texts, replicas) if way == "prefix" else []
    for index, text in enumerate(texts):
        batch = index // BATCH
        place = {"ranges": index // share, "round_robin": batch % replicas}.get(way)
        pool[places[batch] if place is None else place].ask(characters(text))
    return sum(one.hits for one in pool) / sum(one.tokens for one in pool)


def routed(texts: Sequence[str], replicas: int) -> list[int]:
    """The replica of each batch, as the gateway's router chooses it with `IN_FLIGHT` batches under way."""
    prefixes, places = Prefixes[int](), list[int]()
    for start in range(0, len(texts), BATCH):
        keys = keys_of({"messages": [{"role": "user", "content": texts[start]}]})
        under_way = Counter(places[-IN_FLIGHT:])
        places.append(prefixes.ranked(keys, {one: under_way[one] for one in range(replicas)})[0])
        prefixes.saw(places[-1], keys)
    return places


def characters(text: str) -> list[Hashable]:
    """A token for every four characters."""
    return [text[start : start + CHARACTERS] for start in range(0, len(text), CHARACTERS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="a table; without it one is made")
    parser.add_argument("--columns", help="its columns, with commas; all without it")
    parser.add_argument("--instruction", default=INSTRUCTION)
    parser.add_argument("--check", action="store_true", help="compare the simulator with vLLM's own counters")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = given.csv or make_table(Path(folder, "reviews.csv"))
        with table.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    columns = given.columns.split(",") if given.columns else list(rows[0])
    natural = prompts(rows, columns, given.instruction)
    fields = [[f"{name}: {row[name]}" for name in columns] for row in rows]
    best = [columns[index] for index in field_order(fields[:SAMPLE])]
    ordered = prompts(rows, best, given.instruction)
    ours = tasks(ordered)
    shown = []
    for name, texts, way in (
        ("natural", natural, "round_robin"),
        ("prompts sorted in each task", tasks(natural), "round_robin"),
        ("fields reordered", ordered, "round_robin"),
        ("fields reordered, prompts sorted in each task", ours, "round_robin"),
        ("the same, batches by their prefix", ours, "prefix"),
        ("one task, a range of it to each replica", in_order(ordered), "ranges"),
    ):
        shown.append((name, ratio(texts, 1), ratio(texts, 4, way)))
    print(f"{len(rows)} rows; {', '.join(columns)} becomes {', '.join(best)}")
    report.table("Share of prompt tokens from the cache", ("order", "1 replica", "4 replicas"), shown)
    figures = {
        "natural": round(shown[0][1], 3),
        "ours": round(shown[3][1], 3),
        "natural_4": round(shown[0][2], 3),
        "ours_4": round(shown[3][2], 3),
        "routed_4": round(shown[4][2], 3),
        "ranges_4": round(shown[5][2], 3),
    }
    if given.check:
        figures |= check(natural[:100], ours[:100])
    report.last_line(figures)


def in_order(texts: Sequence[str]) -> list[str]:
    """Sorted as a task sends them."""
    return [texts[index] for index in prefix_order([[{"content": text}] for text in texts])]


def tasks(texts: Sequence[str], count: int = 4) -> list[str]:
    """As the tasks of a planned select send them: rows by the hash of their prompt, sorted, batches side by side."""
    parts: list[list[str]] = [[] for _ in range(count)]
    for text in texts:
        parts[crc32(text.encode()) % count].append(text)
    parts = [in_order(part) for part in parts]
    longest = max(map(len, parts))
    return [text for start in range(0, longest, BATCH) for part in parts for text in part[start : start + BATCH]]


def prompts(rows: Sequence[dict[str, str]], columns: Sequence[str], instruction: str) -> list[str]:
    return [instruction + "".join(f"\n{name}: {row[name]}" for name in columns) for row in rows]


def make_table(path: Path, rows: int = 4_000) -> Path:
    """Reviews of films, in the order in which they came in: a film has many, a text one, a critic a few."""
    made = random.Random(1)
    words = ("slow", "warm", "loud", "plot", "cast", "script", "camera", "score", "scene", "pace", "hero", "ending")

    def text(count: int) -> str:
        return " ".join(made.choice(words) for _ in range(count))

    films = [{"title": f"Film {n}", "plot": text(60), "genre": made.choice(words)} for n in range(80)]
    critics = [f"Critic {n} of the {text(2)} paper" for n in range(200)]
    with path.open("w", newline="") as lines:
        table = csv.DictWriter(lines, ["critic", "review", "title", "genre", "plot"])
        table.writeheader()
        table.writerows({"critic": made.choice(critics), "review": text(25), **made.choice(films)} for _ in range(rows))
    return path


def check(*orders: Sequence[str]) -> dict[str, float]:
    """vLLM's own hit ratio and the simulator's on the same tokens, for each order of prompts; one request at a time."""
    from transformers import AutoTokenizer

    from tests.tiny import make_tiny_model

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    with tempfile.TemporaryDirectory() as folder:
        model = str(make_tiny_model(folder, context=1024))
        from vllm import LLM, SamplingParams

        tokenizer = AutoTokenizer.from_pretrained(model)
        figures: dict[str, float] = {}
        for name, texts in zip(("natural", "ours"), orders, strict=True):
            ids = [tokenizer(text)["input_ids"][:1000] for text in texts]
            llm = LLM(model, dtype="float32", max_model_len=1024, enforce_eager=True, block_size=CHECK_BLOCK,
                      num_gpu_blocks_override=CHECK_BLOCKS + 1, max_num_seqs=1, disable_log_stats=False)  # fmt: skip
            llm.generate([{"prompt_token_ids": one} for one in ids], SamplingParams(max_tokens=1), use_tqdm=False)
            counters = {metric.name: getattr(metric, "value", 0) for metric in llm.get_metrics()}
            queries, hits = (counters[f"vllm:prefix_cache_{what}"] for what in ("queries", "hits"))
            figures |= {f"vllm_{name}": round(hits / queries, 3), f"simulated_{name}": round(_simulated(ids), 3)}
            del llm
    return figures


def _simulated(prompts: Sequence[Sequence[int]]) -> float:
    replica = Replica(CHECK_BLOCK, CHECK_BLOCKS)
    for prompt in prompts:
        replica.ask(prompt)
    return replica.hits / replica.tokens


if __name__ == "__main__":
    main()
