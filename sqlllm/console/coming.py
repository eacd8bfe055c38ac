"""How many prompts are on their way to models, by Spark's plan of the running query."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CALLS = "ArrowEvalPython"
_WAIT_FOR_ALL = ("Exchange", "HashAggregate", "ObjectHashAggregate", "Sort")  # they read all rows before one goes on
_ASIDE = ("BroadcastExchange", "Subquery", "ReusedSubquery")  # what they give does not flow on: it is looked up
_ROWS = ("shuffle records written", "number of output rows")


def coming(spark: SparkSession, models: Collection[str]) -> int:
    """The most prompts that the functions `models` are asked by the query that began last; 0 if not known yet."""
    from py4j.protocol import Py4JError  # without Spark the console still says what is missing

    try:
        return _coming(spark._jsparkSession.sharedState().statusStore(), models)
    except Py4JError:  # the query has ended or is planned anew
        return 0


def _coming(store: Any, models: Collection[str]) -> int:
    count = store.executionsCount()
    if not (count and models):
        return 0
    execution = store.executionsList(count - 1, 1).head().executionId()
    graph, known = store.planGraph(execution), store.executionMetrics(execution)
    nodes = {node.id(): node for node in _each(graph.allNodes())}
    below: dict[int, list[int]] = {}
    for edge in _each(graph.edges()):
        below.setdefault(edge.toId(), []).append(edge.fromId())

    def rows(id_: int) -> int:
        """What a node gave."""
        found = {metric.name(): known.get(metric.accumulatorId()) for metric in _each(nodes[id_].metrics())}
        told = next((found[name].get() for name in _ROWS if name in found and found[name].isDefined()), None)
        return int("".join(filter(str.isdigit, str(told or 0))))

    def into(id_: int, waited: bool = False) -> int:
        """What goes into a node; 0 if not known yet."""
        found = [given(child, waited) for child in below.get(id_, ()) if nodes[child].name() not in _ASIDE]
        if nodes[id_].name() == "Union":
            return sum(found) if all(found) else 0
        return next(filter(None, found), 0)

    def given(id_: int, waited: bool) -> int:
        """The rows that a node gives, by the last shuffle below it; without a shuffle, by what it reads."""
        name = nodes[id_].name()
        waited = waited or name in _WAIT_FOR_ALL
        own = rows(id_) if waited else 0
        return own if own and name == "Exchange" else into(id_, waited) or own  # of others, tasks that run do not count

    calls = {id_: _calls(node.desc(), models) for id_, node in nodes.items() if node.name().startswith(_CALLS)}
    return sum(count * into(id_) for id_, count in calls.items() if count)


def _calls(described: str, models: Collection[str]) -> int:
    """How many of `NODE [one(a#1)#2, other(b#3)#4], ...` are functions that are `models`, in any case."""
    names, depth, start, count = {name.lower() for name in models}, 0, 0, 0
    for at, character in enumerate(described):
        if character == "(":
            count += depth == 1 and described[start:at].strip().lower() in names
        if character in "[(":
            depth, start = depth + 1, at + 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth == 1:
            start = at + 1
    return count


def _each(found: Any) -> Iterator[Any]:
    """Of a sequence of Scala's."""
    return (found.apply(place) for place in range(found.size()))
