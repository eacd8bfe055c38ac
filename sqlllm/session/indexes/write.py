"""save overwrite chunks as index.`kb` where text="content" and model="emb" and key="id";"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlllm.errors import ModelError, OptionError, TableError, suggest
from sqlllm.retrieval import care
from sqlllm.retrieval import dataset as index
from sqlllm.retrieval.dataset import HASH, VECTOR, About
from sqlllm.udfs import index as tasks
from sqlllm.udfs.index import ERROR, KEY_HASH

from .. import planning
from ..tables import Result, quoted
from . import places, staged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lance import LanceDataset
    from pyspark.sql import DataFrame

    from sqlllm.places import Place as Where

    from ..formats import Request
    from ..session import Session

_TEXTS = ("content", "text", "chunk")  # columns that hold the text unless `text` names another
_ROW = (
    "name string, rows bigint, inserted bigint, updated bigint, deleted bigint, without_text bigint, failed bigint,"
    " version bigint"
)


def save(ask: Request, frame: DataFrame, mode: str) -> Result | None:
    """Write the rows, embedded; one commit makes them the index, or a part of it. Gives a row of counts."""
    session = ask.session
    place = places.of(session, ask.path, ask.options, ask.place)
    old = place.find()
    if old is not None and mode in ("errorIfExists", "ignore"):
        if mode == "ignore":
            return None
        raise TableError(
            f"there is an index {place.name} already",
            cure="Write save overwrite to replace it, or save append to add rows and replace those of the same key.",
            place=ask.place,
        )
    wanted = _about(session, ask, frame, known=About.of(old.schema) if old is not None and mode == "append" else None)
    return _Save(session, place, frame, wanted, old if mode == "append" else None, ask.place).run(
        append=mode == "append"
    )


def _about(session: Session, ask: Request, frame: DataFrame, *, known: About | None) -> About:
    """What the index will be of. Raises OptionError for an option that is wrong, missing or another one's."""
    given = {key: value for key, value in ask.options.items() if not key.startswith("storage.")}
    columns = {name.lower(): name for name in frame.columns}

    def column(name: str, key: str) -> str:
        if name.lower() not in columns:
            cure = suggest(name, frame.columns, what="columns")
            raise OptionError(f"the table has no column {name}", cure=cure, key=key)
        return columns[name.lower()]

    def listed(key: str) -> tuple[str, ...]:
        return tuple(column(one.strip(), key) for one in given.get(key, "").split(",") if one.strip())

    text = column(given["text"], "text") if "text" in given else next((columns[n] for n in _TEXTS if n in columns), "")
    vector = column(given["vector"], "vector") if "vector" in given else ""
    model = session.models.named(given["model"], "embedding_model") if given.get("model") else ""
    if known is not None:
        wanted = About(
            text=text if "text" in given else "", key=listed("key"), model=model,
            document=column(given["document"], "document") if "document" in given else "",
        )  # fmt: skip
        found = index.check_same(known, wanted, ask.path)
        missing = [one for one in (found.text, *found.key) if one not in frame.columns]
        if missing:
            raise TableError(f"the table has no column {missing[0]}, and the index has", place=ask.place)
        given_column = vector or (found.given if found.given in frame.columns else "")
        if not found.model and not given_column:
            cure = 'Name the column: vector="COLUMN".'
            raise OptionError("the vectors of the index came with its table, and this table has none", cure=cure)
        return replace(found, given=given_column)
    if not text:
        cure = f'Write text="COLUMN". Columns: {", ".join(frame.columns)}.'
        raise OptionError("which column holds the text?", cure=cure)
    if not listed("key"):
        raise OptionError(
            "the index needs a key, which identifies its rows",
            cure='Write key="id", or several columns: key="path, position".',
        )
    taken = [name for name in frame.columns if name in index.RESERVED and name != vector]
    if taken:
        raise OptionError(f"{taken[0]} is a column of each index", cure=f"Rename it: select ... as my_{taken[0]}.")
    return About(
        text=text,
        key=listed("key"),
        model=model or ("" if vector else session.models.named("", "embedding_model")),
        document=column(given["document"], "document") if "document" in given else "",
        filters=listed("filters"),
        given=vector,
        made=uuid.uuid4().hex,
    )


class _Save:
    """One run of save."""

    def __init__(
        self, session: Session, place: places.Place, frame: DataFrame, about: About, old: LanceDataset | None,
        where: Where,
    ) -> None:  # fmt: skip
        self._session, self._place, self._about, self._old, self._where = session, place, about, old, where
        self._rows = frame if old is None else _like(frame, old, about)

    def run(self, *, append: bool) -> Result:
        uri, storage = self._place.uri, self._place.storage
        plain = [name for name in self._rows.columns if name != self._about.given]
        frame = self._with_vectors(plain)
        about = self._about
        if not about.dimensions:
            about = index.with_dimensions(about, self._dimensions(frame))
        schema = about.schema(staged.arrow_schema(self._rows.select(*map(quoted, plain))))
        beside = index.staging(uri) if append else uri
        made = tasks.written(frame, beside, schema, storage)
        self._check_keys(made)
        parts = [one for task in made for one in task.fragments]
        rows = sum(task.rows for task in made)
        with index.one_at_a_time(uri):
            if append:
                counts, dataset = staged.merged(self._place, about, schema, beside, parts)
            else:
                dataset = index.replace_all(uri, schema, parts, storage)
                counts = {"num_inserted_rows": rows}
            dataset = care.tend(dataset, whole=not append)
        failed = sum(task.failed for task in made)
        if failed:
            reason = next(task.error for task in made if task.failed) or "no answer"
            self._session.observer.warned(f"{failed} texts have no vector, so only their words are found: {reason}")
        row = {
            "name": self._place.name,
            "rows": dataset.count_rows(),
            "inserted": counts.get("num_inserted_rows", 0),
            "updated": counts.get("num_updated_rows", 0),
            "deleted": counts.get("num_deleted_rows", 0),
            "without_text": sum(task.blank for task in made),
            "failed": failed,
            "version": dataset.version,
        }
        return Result(self._session.table([row], _ROW), place=self._where)

    def _with_vectors(self, plain: Sequence[str]) -> DataFrame:
        """The columns of the index, and of each row a hash of its key and why it has no vector."""
        about, text = self._about, quoted(self._about.text)
        hashed = f"if({text} rlike r'(?U)\\S', xxhash64({text}), null) as {HASH}"
        keys = f"xxhash64({', '.join(map(quoted, about.key))}) as {KEY_HASH}"
        columns = [quoted(name) for name in plain]
        if about.given:
            vector = f"cast({quoted(about.given)} as array<float>) as {VECTOR}"
            blank = f"if({HASH} is null, null, {VECTOR}) as {VECTOR}"
            found = self._rows.selectExpr(*columns, vector, hashed, keys, f"'' as {ERROR}")
            return found.selectExpr(*columns, blank, HASH, KEY_HASH, ERROR)
        hashed_rows = self._rows.selectExpr(*columns, hashed, keys).repartition(HASH)  # one text, one task
        return self._embedded(hashed_rows, columns)

    def _embedded(self, rows: DataFrame, columns: Sequence[str]) -> DataFrame:
        session, about, text = self._session, self._about, quoted(self._about.text)
        known = "cast(null as array<float>)"
        if self._old is not None:
            name = "llm_index_known"
            tasks.register_known(session.spark, name, self._place.uri, self._old.version, self._place.storage)
            known = f"{name}({text}, {HASH})"
        model = session.models.named(about.model, "embedding_model")
        looked_up = rows.selectExpr("*", f"{known} as llm_known")
        with staged.view(looked_up) as view:
            request = f"llm_param(map('instruction', {text}, 'embedding', 'true'))"
            call = f"{quoted(model)}(if({HASH} is null or llm_known is not null, null, {request}))"
            sql = f"select *, {call} as llm_answer from {view}"  # noqa: S608 - of names that are quoted
            session.meter.begin(f"save {self._place.name} as index", {model.lower()})
            asked = planning.analysed(session.spark, sql)
        vector = f"coalesce(llm_known, from_json(llm_result(llm_answer), 'array<float>')) as {VECTOR}"
        return asked.selectExpr(*columns, vector, HASH, KEY_HASH, f"llm_error(llm_answer) as {ERROR}")

    def _dimensions(self, frame: DataFrame) -> int:
        """Of the first vector that there is."""
        first = frame.where(f"{VECTOR} is not null").selectExpr(f"size({VECTOR}) as n").take(1)
        if first:
            return int(first[0].n)
        failed = frame.where(f"{ERROR} is not null and {ERROR} <> ''").select(ERROR).take(1)
        if failed:
            raise ModelError(f"model {self._about.model} gives no vectors: {failed[0][0]}", place=self._where)
        raise TableError("the table has no row with a text", cure="An index needs a text.", place=self._where)

    def _check_keys(self, made: Sequence[tasks.Written]) -> None:
        """TableError if two rows have the same key."""
        import numpy as np

        hashes = np.concatenate([np.frombuffer(task.keys, np.int64) for task in made] or [np.empty(0, np.int64)])
        hashes.sort()
        twice = hashes[1:][hashes[1:] == hashes[:-1]]
        if not len(twice):
            return
        keys = [quoted(name) for name in self._about.key]
        rows = self._rows.where(f"xxhash64({', '.join(keys)}) = {twice[0]}").selectExpr(*keys).take(2)
        example = next(iter(Counter(rows).keys()), None)
        told = ", ".join(f"{name} = {value!r}" for name, value in (example.asDict() if example else {}).items())
        raise TableError(
            f"two rows have the same key ({told})",
            cure=f"The key of the index is {', '.join(self._about.key)}: each row needs its own.",
            place=self._where,
        )


def _like(frame: DataFrame, old: LanceDataset, about: About) -> DataFrame:
    """The rows with the columns and types of the index, in its order; those that the table lacks are NULL."""
    from pyspark.sql.pandas.types import from_arrow_schema

    kinds = {one.name: one.dataType.simpleString() for one in from_arrow_schema(staged.columns(old.schema))}
    extra = [name for name in frame.columns if name not in kinds and name != about.given]
    if extra:
        cure = f"Columns of the index: {', '.join(kinds)}."
        raise TableError(f"the index has no column {extra[0]}", cure=cure)
    items = [
        f"cast({quoted(name) if name in frame.columns else 'null'} as {kind}) as {quoted(name)}"
        for name, kind in kinds.items()
    ]
    return frame.selectExpr(*items, *([quoted(about.given)] if about.given and about.given not in kinds else []))
