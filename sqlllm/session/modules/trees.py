"""TreeBuildExt: who stands below whom, from rows with an id and the id of the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError

from .. import options
from ..registry import module
from ..tables import Result, identifier
from .inputs import columns_of, input_table, options_of

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Run

    from ..session import Session


@module(
    "TreeBuildExt",
    idCol="the column of the id",
    parentIdCol="the column of the parent's id; NULL at the top",
    topLevelMark="a parent's id that means the top, in place of NULL",
    treeType="nodeTreePerRow: one row for each node",
)
def build(session: Session, run: Run) -> Result:
    """Rows `id`, `level` (0 for a leaf), `children` (all below, at any depth). What hangs in a circle is left out."""
    given, frame = options_of(session, run), input_table(session, run)
    options.require(given, ["idCol", "parentIdCol"], "TreeBuildExt")
    if given.get("treeType", "nodeTreePerRow") != "nodeTreePerRow":
        cure = 'Write treeType="nodeTreePerRow"; its children hold every depth.'
        raise OptionError("a table has no column of trees", cure=cure, key="treeType")
    (node,), (parent,) = columns_of(frame, given, "idCol"), columns_of(frame, given, "parentIdCol")
    rows = frame.select(identifier(node), identifier(parent)).distinct().collect()
    below: dict[Any, list[Any]] = {}
    tops = []
    for one, above in rows:
        if above is None or str(above) == given.get("topLevelMark"):
            tops.append(one)
        else:
            below.setdefault(above, []).append(one)
    kind = dict(frame.dtypes)[node]
    schema = f"id {kind}, level int, children array<{kind}>"
    return Result(session.spark.createDataFrame(_walk(tops, below), schema), place=run.place)


def _walk(tops: list[Any], below: dict[Any, list[Any]]) -> list[tuple[Any, int, list[Any]]]:
    """Each node under `tops`, parents first, with its height and all its descendants."""
    order, seen = list(tops), set(tops)
    for node in order:  # grows while it is read
        order += [one for one in below.get(node, ()) if one not in seen]
        seen.update(below.get(node, ()))
    found: dict[Any, tuple[int, list[Any]]] = {}
    for node in reversed(order):
        children = [one for one in below.get(node, ()) if one in found]
        height = 1 + max((found[one][0] for one in children), default=-1)
        found[node] = height, [deep for one in children for deep in (one, *found[one][1])]
    return [(node, *found[node]) for node in order]
