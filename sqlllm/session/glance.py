"""What is read at a glance: `!show tables`, `models`, `runs`, `usage`. `load llm` has the same in full, for queries."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlllm.jobs import cluster
from sqlllm.jobs.runs import ACTIVE, RunRecord
from sqlllm.jobs.training.progress import ago, duration, read_metrics

from . import meter, system

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .session import Session

Links = tuple[tuple[str, str], ...]

_DESCRIBED = 200  # tables whose columns are listed
_WIDE = 100  # characters of the columns of one


def tables(session: Session) -> tuple[DataFrame, Links]:
    """Spark's columns first, as in Byzer; then whether it is computed already, and its columns."""
    catalog, rows = session.spark.catalog, []
    for number, table in enumerate(session.spark.sql("show tables").collect()):
        columns, cached = "", False
        if table.isTemporary and number < _DESCRIBED:
            name = f"`{table.tableName.replace('`', '``')}`"
            columns = ", ".join(f"{column} {kind}" for column, kind in session.spark.table(name).dtypes)
            cached = catalog.isCached(name)
        rows.append({**table.asDict(), "cached": cached, "columns": _short(columns, _WIDE)})
    schema = "tableName string, isTemporary boolean, cached boolean, columns string, namespace string"
    return session.table(rows, schema), _spark(session)


def models(session: Session) -> tuple[DataFrame, Links]:
    """What is deployed, and what it has answered."""
    used: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    found = system.deployed(session)
    for one in meter.recorded(session) if found else ():
        counts = used[one["model"]]
        for place, key in enumerate(("calls", "answer_tokens", "failed")):
            counts[place] += one[key]
    rows = [
        {
            "name": model.name,
            "state": model.state.lower(),
            "engine": model.backend,
            "workers": model.replicas,
            "calls": f"{used[model.name][0]:,}",
            "tokens": _amount(used[model.name][1]),
            "failed": f"{used[model.name][2]:,}",
            "model": "/".join(model.model.rstrip("/").split("/")[-2:]),
        }
        for model in found
    ]
    schema = (
        "name string, state string, engine string, workers int, calls string, tokens string, failed string,"
        " model string"
    )
    gateway = tuple(("the gateway", f"{url}/v1/models") for url in sorted({model.endpoint for model in found}))
    return session.table(rows, schema), (*gateway, *_ray())


def runs(session: Session) -> tuple[DataFrame, Links]:
    """The training runs, the last one first."""
    rows = [_run(run) for run in reversed(system.recorded(session))]
    schema = (
        "name string, kind string, state string, steps string, loss string, tokens string, started string,"
        " took string, left string, reason string"
    )
    return session.table(rows, schema), _ray()


def usage(session: Session) -> tuple[DataFrame, Links]:
    """What statements used of models, the last one first."""
    rows = [
        {
            "started": ago(datetime.fromtimestamp(one["started"], UTC)),
            "model": one["model"],
            "rows": f"{one['rows']:,}",
            "calls": f"{one['calls']:,}",
            "cached": f"{one['cached'] + one['joined']:,}",
            "failed": f"{one['failed']:,}",
            "tokens": _amount(one["prompt_tokens"] + one["answer_tokens"]),
            "speed": f"{one['answer_tokens'] / one['seconds']:,.0f} tok/s" if one["seconds"] else "",
            "took": duration(one["seconds"]),
            "cost": f"{one['cost']:,.4f}" if one["cost"] else "",
            "statement": _short(one["statement"], 60),
        }
        for one in reversed(meter.recorded(session))
    ]
    schema = ", ".join(
        f"{name} string"
        for name in "started model rows calls cached failed tokens speed took cost statement".split()  # noqa: SIM905
    )
    return session.table(rows, schema), _ray()


def _run(run: RunRecord) -> dict[str, Any]:
    active = run.state in ACTIVE
    logged = read_metrics(run.metrics)[0] if run.state == "running" else []
    steps, loss, tokens = (
        (logged[-1].step, logged[-1].loss, logged[-1].tokens) if logged else (run.steps, run.loss, run.tokens)
    )
    took = (datetime.now(UTC) - run.started).total_seconds() if active else run.seconds
    return {
        "name": run.name,
        "kind": run.kind,
        "state": run.state,
        "steps": f"{steps:,}/{run.total_steps:,}" if run.total_steps else "",
        "loss": "" if loss is None else f"{loss:.4f}",
        "tokens": _amount(tokens),
        "started": ago(run.started),
        "took": duration(took) if took else "",
        "left": duration(logged[-1].eta) if logged else "",
        "reason": _short(run.reason, 60),
    }


def _amount(count: float) -> str:
    """`950`, `12.3 k` or `4.5 M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _spark(session: Session) -> Links:
    if session.settings.spark.remote:
        return ()
    url = session.spark.sparkContext.uiWebUrl
    return (("Spark's UI", url),) if url else ()


def _ray() -> Links:
    url = cluster.dashboard()
    return (("Ray's dashboard", url),) if url else ()
