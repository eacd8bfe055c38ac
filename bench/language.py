"""How fast check and completion answer on a script of 1,000 lines: `python -m bench.language`.

`check` is what `sqlllm check` does after its imports: parse, walk, look at the SQL of each select. `check_again` is the
same after one statement has changed, as an editor asks: what sqlglot says of the others is kept. `complete` offers what
fits at the end of the script, `complete_table` the tables that it names. The best of a few, in ms of CPU time.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from sqlllm.console.language import Language
from sqlllm.dialect import checks, parse
from sqlllm.session import Session
from sqlllm.session.rehearsal import Rehearsal

from .parse import seconds

BLOCK = """-- orders of day {n}
load csv.`.` where header="true"
  and inferSchema="true" as orders_{n};
set threshold_{n} = "{n}";
select o.id, upper(o.name) as name, sum(o.price * 2) over (partition by o.name order by o.id) as total,
       case when o.price > int('${{threshold_{n}}}') then 'high' else 'low' end as level
from orders_{n} as o
join (select id, max(day) as day from orders_{n} group by id) d on d.id = o.id
where o.price between 1 and {n} and o.name like '%x%'
as result_{n};
"""


def check(text: str) -> tuple[int, int]:
    """Errors and warnings of a script."""
    script = parse(text)
    rehearsal = Rehearsal(Session())
    rehearsal.run(script)
    return len(script.errors) + len(rehearsal.errors), len(script.warnings) + len(rehearsal.warnings)


def cold(text: str) -> None:
    checks.forget()
    check(text)


def main() -> None:
    text = "".join(BLOCK.format(n=n) for n in range(100))
    assert text.count("\n") == 1_000
    assert check(text) == (0, 0)
    changes = iter(range(1_000_000))

    def changed() -> str:
        return text.replace("max(day)", f"max(day_{next(changes)})", 1)

    language = Language()
    works: dict[str, Callable[[], object]] = {
        "check": lambda: cold(text),
        "check_again": lambda: check(changed()),
        "complete": lambda: language.complete(f"{changed()}select up", len(text) + 20),
        "complete_table": lambda: language.complete(f"{changed()}select * from res", len(text) + 30),
    }
    found = {f"{name}_ms": round(seconds(work, 7) * 1_000, 1) for name, work in works.items()}
    for name, figure in found.items():
        print(f"{name:20} {figure:8.1f}")
    print(json.dumps({"lines": 1_000, **found}))


if __name__ == "__main__":
    main()
