"""Tables that are computed once: for a script, for the session, or while something refers to them."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .tables import identifier

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .session import Session

LIFECYCLES = ("script", "session")


def add(session: Session, name: str, lifecycle: str) -> None:
    """Compute the table `name` once, until the script or the session ends."""
    session.spark.catalog.cacheTable(identifier(name))
    if lifecycle == "script":
        session.cached.add(identifier(name))


def remove(session: Session, name: str) -> None:
    """Compute it no longer once."""
    session.spark.catalog.uncacheTable(identifier(name))
    session.cached.discard(identifier(name))


@dataclass(eq=False)
class _Entry:
    """A table in Spark's storage, and what refers to it."""

    frame: DataFrame  # another object than the caller's, whose life is watched
    frames: int = 0  # of callers, that live
    tables: set[str] = field(default_factory=set)  # that read it
    needs: set[_Entry] = field(default_factory=set)  # what it is computed from, until it has been


class Kept:
    """The answers of models, each computed once and freed when no table and no DataFrame refers to it any more.

    Spark Connect does not show what refers to what: there they are kept until the session ends.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._entries: dict[int, _Entry] = {}  # by the identity of Spark's cached data
        self._views: dict[str, int] = {}  # tables that read entries, and the identity of their plan
        self._released: deque[int] = deque()  # entries of frames that have died, in any thread
        self._others: list[DataFrame] = []  # of Spark Connect

    def __len__(self) -> int:
        return len(self._entries) + len(self._others)

    def keep(self, frame: DataFrame) -> DataFrame:
        """The same table, computed when it is first read, and then held in memory or on disk."""
        self.sweep()
        if not hasattr(frame, "_jdf"):
            self._others.append(frame.persist())
            return frame
        kept = _without_names(frame)
        needs = set(self._under(kept)) if self._entries else set()
        kept.persist()
        root: Any = kept._jdf.queryExecution().withCachedData()
        if not _is_kept(root):  # Spark keeps no such plan
            return kept
        key = _identity(self._session, root.cacheBuilder())
        shadow: Any = type(kept)
        entry = self._entries.setdefault(key, _Entry(shadow(kept._jdf, kept._session), needs=needs))
        entry.frames += 1
        weakref.finalize(kept, self._released.append, key).atexit = False
        return kept

    def named(self, frame: DataFrame, name: str) -> None:
        """`frame` is the table `name` now, and what had that name is not."""
        if not self._entries:
            return
        name = name.lower()
        self._forget(name)
        for entry in self._under(frame):
            entry.tables.add(name)
            self._views[name] = self._view(name)
        self.sweep()

    def sweep(self) -> None:
        """Free what nothing refers to."""
        while self._released:
            if entry := self._entries.get(self._released.popleft()):
                entry.frames -= 1
        for name in [name for name, plan in self._views.items() if self._view(name) != plan]:
            self._forget(name)
        for entry in self._entries.values():
            if entry.needs and _is_computed(entry.frame):
                entry.needs.clear()
        while unused := self._unused():
            self._entries.pop(unused).frame.unpersist()

    def free(self) -> None:
        """Free everything: the session ends."""
        for frame in [*self._others, *(entry.frame for entry in self._entries.values())]:
            frame.unpersist()

    def _unused(self) -> int | None:
        needed = {need for entry in self._entries.values() for need in entry.needs}
        unused = (key for key, one in self._entries.items() if not (one.frames or one.tables or one in needed))
        return next(unused, None)

    def _forget(self, table: str) -> None:
        self._views.pop(table, None)
        for entry in self._entries.values():
            entry.tables.discard(table)

    def _under(self, frame: DataFrame) -> Iterator[_Entry]:
        """The entries that `frame` reads."""
        # A plan of its own: what is planned before it is kept would not see that it is.
        plan: Any = frame.alias("llm_kept")._jdf.queryExecution().withCachedData()
        subqueries = plan.subqueriesAll()
        for part in [plan, *(subqueries.apply(index) for index in range(subqueries.size()))]:
            leaves = part.collectLeaves()
            for leaf in (leaves.apply(index) for index in range(leaves.size())):
                if _is_kept(leaf) and (entry := self._entries.get(_identity(self._session, leaf.cacheBuilder()))):
                    yield entry

    def _view(self, name: str) -> int:
        """The identity of a temporary view's plan; 0 if there is none of that name."""
        spark: Any = self._session.spark
        found = spark._jsparkSession.sessionState().catalog().getRawTempView(name)
        return _identity(self._session, found.get()) if found.isDefined() else 0


def _without_names(frame: DataFrame) -> DataFrame:
    """`frame` without the names of the views that it reads, and as if nobody had looked at it.

    When a view is replaced, Spark frees all that was computed from its name; and what was planned before it was kept
    does not see that it is.
    """
    spark: Any = frame.sparkSession
    catalyst = spark._jvm.org.apache.spark.sql.catalyst.analysis
    plan: Any = frame._jdf.queryExecution().analyzed()
    plan = catalyst.EliminateView.apply(catalyst.EliminateSubqueryAliases.apply(plan))
    fresh = spark._jvm.org.apache.spark.sql.classic.Dataset.ofRows(spark._jsparkSession, plan)
    kind: Any = type(frame)
    made: DataFrame = kind(fresh, spark)
    return made


def _identity(session: Session, value: Any) -> int:
    """Of an object of Java's."""
    spark: Any = session.spark
    return int(spark._jvm.System.identityHashCode(value))


def _is_kept(plan: Any) -> bool:
    """Whether a plan reads Spark's storage."""
    return bool(plan.getClass().getSimpleName() == "InMemoryRelation")


def _is_computed(frame: Any) -> bool:
    """Whether all of a kept frame is in the storage."""
    return bool(frame._jdf.queryExecution().withCachedData().cacheBuilder().isCachedColumnBuffersLoaded())
