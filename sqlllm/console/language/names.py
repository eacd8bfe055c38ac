"""What a session knows by name. Reading it starts nothing: without Spark there are no tables yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.places import SECRET_KEY

if TYPE_CHECKING:
    from sqlllm.session import Session


class Names:
    """No session: nothing is known."""

    def tables(self) -> dict[str, str]:
        """Tables, each with a word about it."""
        return {}

    def columns(self, table: str) -> dict[str, str]:
        """Columns of a table and their types, in order."""
        return {}

    def models(self) -> list[str]:
        """Functions that call a model."""
        return []

    def variables(self) -> dict[str, str]:
        """Variables and their values, secrets masked."""
        return {}

    def connections(self, format_: str) -> list[str]:
        """Names given by `connect`."""
        return []

    def runs(self) -> dict[str, str]:
        """Training runs and their states."""
        return {}


class SessionNames(Names):
    """A session's names; what Spark says is kept until `forget`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tables: dict[str, str] | None = None
        self._columns: dict[str, dict[str, str]] = {}

    def forget(self) -> None:
        """Ask Spark again: a statement has run."""
        self._tables = None
        self._columns.clear()

    def tables(self) -> dict[str, str]:
        if self._tables is None:
            if not self._session.spark_runs:
                return {}
            listed = self._session.spark.catalog.listTables()
            self._tables = {table.name: table.tableType.lower() for table in listed}
        return self._tables

    def columns(self, table: str) -> dict[str, str]:
        known = {name.lower(): name for name in self.tables()}
        name = known.get(table.lower())
        if name is None:
            return {}
        if name not in self._columns:
            self._columns[name] = dict(self._session.spark.table(f"`{name}`").dtypes)
        return self._columns[name]

    def models(self) -> list[str]:
        return sorted(self._session.models)

    def variables(self) -> dict[str, str]:
        return {name: self._shown(name) for name in self._session.variables.names()}

    def connections(self, format_: str) -> list[str]:
        return sorted(name for kind, name in self._session.connections if kind == format_.lower())

    def runs(self) -> dict[str, str]:
        folder = self._session.settings.home.expanduser() / "runs"
        return {path.name: "run" for path in sorted(folder.iterdir())} if folder.is_dir() else {}

    def _shown(self, name: str) -> str:
        value = self._session.variables.source(name) or ""
        return "***" if SECRET_KEY.search(name) else self._session.mask(value)
