"""What an operator runs with: the models, counted and limited as its statement is, and a place for its remarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlllm.dialect import RenderedSql
from sqlllm.errors import ModelError, suggest
from sqlllm.places import Source

from .. import ai, planning, queries
from .asking import Asker

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from sqlllm.jobs.serving.gateway.usage import Query
    from sqlllm.settings import LLMSettings

    from ..session import Session

_CONTEXT = 8192  # tokens, of a model that does not say
_CHARACTERS = 65_536  # of the texts whose tokens are counted to learn how long a token is


_numbers = count(1)


class Tools:
    """Those of one statement. `query` is what the gateway counts under; None: nothing may be asked (`explain llm`)."""

    def __init__(self, session: Session, query: Query | None) -> None:
        self._session, self._query = session, query
        self._askers: dict[str, Asker] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._sizes: dict[str, float] = {}  # bytes of a token, by model
        self.notes: list[str] = []

    @property
    def settings(self) -> LLMSettings:
        """`llm.*`."""
        return self._session.settings.llm

    def model(self, name: str = "", *, embeds: bool = False) -> str:
        """The model of that name, else the setting's, else the only one. ModelError if there is none."""
        setting = "embedding_model" if embeds else "model"
        name = name or getattr(self.settings, setting)
        models = [one.name for one in self._session.models.values()]
        if not name and len(models) == 1 and not embeds:
            return models[0]
        if not name:
            cure = f'Write model => "...", or set llm.{setting} = "...";' if not embeds else f"Set llm.{setting}."
            raise ModelError("which model is meant?" if models else "no model is deployed", cure=cure)
        found = self._session.models.find(name)
        if found is None:
            cure = suggest(name, models, what="models") if models else "Deploy it first."
            raise ModelError(f"there is no model {name}", cure=cure)
        return found.name

    def asker(self, model: str = "") -> Asker:
        """Who asks a chat model; see `model`. One of a name, so that what it asked before is known."""
        return self._asker(self.model(model))

    def embed(self, texts: Sequence[str], model: str = "", *, unit: bool = True) -> NDArray[np.float32]:
        """A vector (of unit length) for each text, by `llm.embedding_model` unless another is named."""
        return self._asker(self.model(model, embeds=True)).embed(texts, unit=unit)

    def backend(self, model: str = "") -> str:
        """The engine that runs the model, as `oracle`; empty if the gateway does not say."""
        return str((self._told(self.model(model)).get("meta") or {}).get("backend") or "")

    def _asker(self, model: str) -> Asker:
        if self._query is None:
            raise AssertionError("explain asks nothing")
        if model not in self._askers:
            endpoint = self._session.meter.of(model, self._query)
            self._askers[model] = Asker(endpoint, self.step)
        return self._askers[model]

    def count(self, texts: Sequence[str], model: str = "") -> list[int]:
        """Tokens of each text as a prompt of its own, as the model counts them; it is not asked."""
        if not texts:
            return []
        batch = [[{"role": "user", "content": text}] for text in texts]
        return self._session.serving.count_tokens(self.model(model), batch)

    def tokens(self, text: str, model: str = "") -> int:
        """About as many tokens as `text` has: by the length of a token in the first text that was looked at."""
        name = self.model(model)
        if name not in self._sizes:
            sample = text[:_CHARACTERS] or " "
            self._sizes[name] = max(0.25, len(sample.encode()) / max(1, self.count([sample], name)[0]))
        return int(len(text.encode()) / self._sizes[name]) + 1

    def context(self, model: str = "") -> int:
        """Tokens of prompt and answer that the model has room for."""
        return int((self._told(self.model(model)).get("meta") or {}).get("max_model_len") or _CONTEXT)

    def _told(self, name: str) -> dict[str, Any]:
        """What the gateway says of a model; nothing if it does not answer."""
        import httpx

        if name not in self._known:
            try:
                with self._session.serving.client(timeout=30) as http:
                    self._known[name] = http.get(f"/v1/models/{name}").raise_for_status().json()
            except (httpx.HTTPError, ValueError):
                self._known[name] = {}
        return self._known[name]

    def compute(self, rows: pa.Table, select: Callable[[str], str]) -> pa.Table:
        """What `select` gives of a view with `rows`, of whose name it makes SQL; models in it are asked row by row."""
        name = f"llm_rows_{next(_numbers)}"
        session = self._session
        session.spark.createDataFrame(rows).createOrReplaceTempView(name)
        try:
            text = select(name)
            sql = ai.written_out(session, RenderedSql(text, Source(text).place(0, len(text))))
            if called := session.models.called(sql.text):
                session.meter.begin(text, called, query=self._query)
            with queries.errors_at(None):  # the statement's own place
                return planning.analysed(session.spark, sql.text).toArrow()
        finally:
            session.spark.catalog.dropTempView(name)

    def step(self, text: str) -> None:
        """One line of progress."""
        self._session.observer.step(text)

    def note(self, text: str) -> None:
        """Something the user should know: the gate has failed, a target was not met."""
        self.notes.append(text)
        if self._query is not None:
            self._session.observer.warned(text)
