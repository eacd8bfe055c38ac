"""CPU time to plan a select of 100 lines, and one without models: `python -m bench.planning`. No Spark, no model."""

from __future__ import annotations

import statistics
import time

from sqlllm import planner

from . import report

ROUNDS = 20
COLUMNS = ["id", "g", "p", "q", *(f"c{number}" for number in range(70))]


def long_select(*, calls: bool) -> str:
    """A select of 100 lines: two CTEs, a join, a long list, conditions, an order and a limit."""
    model = "up" if calls else "upper"
    shown = ",\n".join(f"    coalesce(x.c{number}, y.c{number}, 'none') as d{number}" for number in range(70))
    conditions = "\n".join(f"    and x.c{number} is not null" for number in range(12))
    return f"""with a as (
    select *, {model}(p) as told
    from t
    where g > 1
), b as (
    select id, max(q) as q, {", ".join(f"max(c{number}) as c{number}" for number in range(70))}
    from t
    group by id
)
select x.id,
    x.told,
    case when x.g = 2 then {model}(concat(x.q, y.q)) else 'other' end as e,
{shown}
from a as x
join b as y
    on x.id = y.id
where x.g < 9
{conditions}
order by x.id
limit 10"""


def _median(sql: str) -> float:
    took = []
    for _ in range(ROUNDS):
        sql += " "  # not a text that was read before
        start = time.process_time()
        planner.rewrite(sql, {"up"}, lambda _: COLUMNS)
        took.append(1_000 * (time.process_time() - start))
    return statistics.median(took)


def main() -> None:
    asks, plain = long_select(calls=True), long_select(calls=False)
    lines = asks.count("\n") + 1
    assert planner.rewrite(asks, {"up"}, lambda _: COLUMNS).text != asks
    assert planner.rewrite(plain, {"up"}, lambda _: COLUMNS) == planner.Rewritten(plain)
    milliseconds, untouched = _median(asks), _median(plain)
    report.table(
        "Planning", ("select", "lines", "ms"), [("with two calls", lines, milliseconds), ("without", lines, untouched)]
    )
    report.last_line({"lines": lines, "milliseconds": round(milliseconds, 1), "without_models": round(untouched, 1)})


if __name__ == "__main__":
    main()
