"""The one registry of models: what each is called and can do, and which of them a statement calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError, suggest
from sqlllm.udfs.functions import FUNCTIONS

from .mentions import created_view, mentions
from .tables import quoted

if TYPE_CHECKING:
    from sqlllm.udfs.transport import Endpoint

    from .session import Session

_BODY, _VOLATILE = "\nBody:", "\nDeterministic: false\n"  # in Spark's `describe function extended`


@dataclass(frozen=True, slots=True)
class Model:
    """One deployed model.

    `endpoint` is None for a function that is registered elsewhere and asks a model: its use is not counted or limited.
    `constrains`: answers can be held to a JSON schema. `aliases` are the other names that the gateway knows.
    `folder` is where a model that runs here has its files, as its worker sees it.
    """

    name: str
    endpoint: Endpoint | None = None
    constrains: bool = True
    aliases: tuple[str, ...] = ()
    folder: str = ""


class Models(Mapping[str, Model]):
    """The models of a session by name in lower case: the SQL functions of these names ask them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._models: dict[str, Model] = {}
        self._views: dict[str, str] = {}  # texts of temporary views; where Spark's own catalogue is out of reach
        self.unstable: set[str] = set()
        """Python functions of the user that may give another value each time, by name in lower case."""

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._models))  # another thread may look at them

    def __len__(self) -> int:
        return len(self._models)

    def add(
        self,
        name: str,
        endpoint: Endpoint | None = None,
        *,
        constrains: bool = True,
        aliases: tuple[str, ...] = (),
        folder: str = "",
    ) -> None:
        """Add a model; with an `endpoint`, also register the SQL function `name` that asks it."""
        if endpoint:
            from sqlllm.udfs import model

            model.register(self._session.spark, name, endpoint)
        self._models[name.lower()] = Model(name, endpoint, constrains, aliases, folder)

    def drop(self, name: str) -> None:
        """Forget a model, if it is there."""
        self._models.pop(name.lower(), None)

    def clear(self) -> None:
        """Forget all models."""
        self._models.clear()

    def find(self, name: str) -> Model | None:
        """The model of that name, else the model that has it as an alias, in any case."""
        wanted = name.lower()
        others = (model for model in self._models.values() if wanted in {alias.lower() for alias in model.aliases})
        return self._models.get(wanted) or next(others, None)

    def named(self, name: str, setting: str) -> str:
        """The model `name`, else that of the setting `llm.SETTING`, else the only one. Raises ModelError if none is."""
        name, known = name or getattr(self._session.settings.llm, setting), sorted(self._models)
        if not name and len(known) == 1:
            return known[0]
        if not name:
            cure = f'Write model => "...", or set llm.{setting} = "...";'
            raise ModelError("which model is meant?" if known else "no model is deployed", cure=cure)
        model = self.find(name)
        if model is None:
            cure = suggest(name, known, what="models") if known else "Deploy it first."
            raise ModelError(f"there is no model {name}", cure=cure)
        return model.name

    def called(self, sql: str) -> frozenset[str]:
        """The models that a statement calls, by name in lower case: itself, or in a view or a SQL function it names."""
        if not self._models:
            return frozenset()
        return frozenset(name for text in self._reached(sql) for name in mentions(text).functions if name in self)

    def volatile(self, sql: str) -> frozenset[str]:
        """The user's functions in `sql` that may give another value each time, by name in lower case.

        These are SQL functions around `uuid()` and the like, and the Python functions in `unstable`.
        """
        return frozenset(name for name in self._users(mentions(sql).functions) if self._is_volatile(name))

    def created(self, sql: str) -> None:
        """Remember the view that a statement has created, if it has."""
        if self._catalog is None and (view := created_view(sql)):
            self._views[view] = sql

    def _is_volatile(self, function: str) -> bool:
        told = self._told(function)
        inner = self._users(mentions(told.partition(_BODY)[2]).functions) if _BODY in told else ()
        return function in self.unstable or _VOLATILE in told or any(map(self._is_volatile, inner))

    def _reached(self, sql: str) -> Iterator[str]:
        """`sql`, and the text of each SQL function and view that it reaches."""
        todo, seen = [sql], {sql}
        while todo:
            text = todo.pop()
            yield text
            found = mentions(text)
            bodies = [self._told(name).partition(_BODY)[2] for name in self._users(found.functions)]
            inner = {text for text in (*bodies, *self._texts(found.tables)) if text} - seen
            seen |= inner
            todo += inner

    def _users(self, names: Collection[str]) -> list[str]:
        """Those of `names` that are temporary functions and neither models nor ours."""
        others = [name for name in names if name not in self and name not in FUNCTIONS]
        if not others or self._catalog is None:
            return others
        known = _lines(self._catalog.listTemporaryFunctions())  # qualified, perhaps
        return [name for name in others if any(f".{one}".endswith(f".{name}") for one in known)]

    def _told(self, function: str) -> str:
        """What Spark says of a function, a line each; empty if there is none."""
        from pyspark.errors import PySparkException

        try:
            rows = self._session.spark.sql(f"describe function extended {quoted(function)}").collect()
        except PySparkException:
            return ""
        return "\n".join(row[0] for row in rows) + "\n"

    def _texts(self, names: Collection[str]) -> Iterator[str]:
        """The texts of those of `names` that are temporary views made by SQL."""
        if (catalog := self._catalog) is None:
            yield from (text for name, text in self._views.items() if name in names)
            return
        local = {name.strip("`").replace("``", "`") for name in _lines(catalog.listLocalTempViews("*"))}
        shared = set(_lines(catalog.globalTempViewManager().listViewNames("*")))
        for view in (
            *(catalog.getTempView(name) for name in local & set(names)),
            *(catalog.getGlobalTempView(name) for name in shared & set(names)),
        ):
            if view.isDefined() and view.get().desc().viewText().isDefined():
                yield view.get().desc().viewText().get()

    @property
    def _catalog(self) -> Any:
        """Spark's catalogue; None where it is on another machine (Spark Connect)."""
        found = getattr(self._session.spark, "_jsparkSession", None)
        return found and found.sessionState().catalog()


def _lines(found: Any) -> list[str]:
    """What is in a sequence of Scala's as texts in lower case, for which Java is asked once."""
    return str(found.mkString("\n")).lower().split("\n")
