"""How fast scripts parse: `python -m bench.parse`.

Times are ratios of one run on one machine: time per statement at 1,000 and at 10,000 statements (1.0 is linear), and
the dialect against sqlglot's Spark dialect on the same selects, which it only has to cut out and check for variables.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable

import sqlglot

from sqlllm.dialect import format_script, parse

SELECT = (
    "select id, upper(name) as name, llm_result(chat(llm_param(map('instruction', concat('Sum: ', text))))) as s{n}\n"
    "from reviews where score > {n} and lang = 'en' -- only English\norder by id limit 100"
)
BLOCK = (
    "set year{n} = '20{n}';\n"
    'load json.`/data/${{year{n}}}/part-{n}.jsonl` where inferSchema="true" and multiLine="false" as t{n};\n'
    f"{SELECT} as u{{n}};\n"
    'run u{n} as TableRepartition.`` where partitionNum="12" as v{n};\n'
    "save overwrite v{n} as parquet.`/out/{n}`;\n"
)


def script(statements: int) -> str:
    """A script of that many statements of five kinds."""
    return "".join(BLOCK.replace("{n}", str(n)).replace("{{", "{").replace("}}", "}") for n in range(statements // 5))


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The best CPU time of a few, without the garbage collector, as timeit has it."""
    best = float("inf")
    gc.disable()
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
        gc.collect()
    gc.enable()
    return best


def main() -> None:
    small, large = script(1_000), script(10_000)
    parsed = parse(large)
    assert not parsed.errors
    assert len(parsed.statements) == 10_000
    per_small, per_large = seconds(lambda: parse(small)) / 1_000, seconds(lambda: parse(large)) / 10_000
    selects = [SELECT.replace("{n}", str(n)) for n in range(1_000)]
    one_script = ";\n".join(f"{select} as t" for select in selects)
    ours = seconds(lambda: parse(one_script)) / len(selects)
    theirs = seconds(lambda: [sqlglot.parse_one(select, read="spark") for select in selects], 2) / len(selects)
    styled = seconds(lambda: format_script(small), 2) / 1_000
    rows = [
        ("parse, 1,000 statements", per_small),
        ("parse, 10,000 statements", per_large),
        ("parse and format, 1,000 statements", styled),
        ("1,000 selects, this dialect", ours),
        ("1,000 selects, sqlglot's Spark dialect", theirs),
    ]
    for name, took in rows:
        print(f"{name:<42}{took * 1e6:>10.1f} microseconds a statement")
    figures = {
        "seconds_10k": round(per_large * 10_000, 3),
        "linearity": round(per_large / per_small, 2),
        "faster_than_sqlglot": round(theirs / ours, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
