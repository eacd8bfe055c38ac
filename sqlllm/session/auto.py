"""load auto.`path`: the format by the ending of the files; of CSV the separator, the header and the types, too."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sqlllm.errors import OptionError, suggest

from . import delimited, excel, known_options

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request

_PACKED = (".bz2", ".deflate", ".gz", ".lz4", ".snappy", ".zst")
_ENDINGS = {
    ".avro": "avro", ".csv": "csv", ".json": "json", ".jsonl": "json", ".log": "text", ".md": "text",
    ".ndjson": "json", ".orc": "orc", ".parquet": "parquet", ".tsv": "csv", ".txt": "text", ".xlsx": "excel",
}  # fmt: skip
_SEPARATORS = ",;\t|"
_HEAD = 200  # lines that decide
_VALUE = re.compile(r"(?i)[-+]?[\d.,]+(e[-+]?\d+)?%?|true|false|\d{4}-\d\d?-\d\d?.*|\d\d?[./]\d\d?[./]\d{2,4}.*")


def read(ask: Request) -> DataFrame:
    """The files, as `load csv`, `json`, `parquet` ... reads them; the script's own options go before what is found.

    Raises OptionError for files of an unknown ending.
    """
    ending = _ending(ask)
    if ending not in _ENDINGS:
        cure = suggest(ending, list(_ENDINGS), what="endings") + " Or write the format itself."
        raise OptionError(f"{ask.path} has an ending that names no format", cure=cure, place=ask.place)
    kind = _ENDINGS[ending]
    given, _ = known_options.checked(kind, ask.options, writing=False)
    found = replace(ask, format=kind, options=given)
    if kind == "csv":
        head = ask.session.spark.read.text(ask.paths).take(_HEAD)
        found = replace(found, options=csv_options([row.value for row in head]) | given)
        return delimited.read(found)
    if kind == "excel":
        return excel.read(replace(found, options={"header": "true", **given}))
    return ask.session.spark.read.format(kind).options(**given).load(ask.paths)


def csv_options(lines: Sequence[str]) -> dict[str, str]:
    """`sep`, `header` and `inferSchema` of a file that begins with these lines."""
    records = [record for record in delimited.records(lines, '"', '"') if record.strip()]
    separator = max(_SEPARATORS, key=lambda sign: (_agree(records, sign), -_SEPARATORS.index(sign)))
    rows = list(_rows(records, separator))
    header = str(bool(rows) and _is_header(rows[0])).lower()
    return {"sep": separator, "header": header, "inferSchema": "true"}


def _agree(records: Sequence[str], separator: str) -> tuple[float, int]:
    """How many records have as many fields as most have, if that is more than one; and how many fields."""
    counts = Counter(map(len, _rows(records, separator)))
    if not counts:
        return 0, 0
    fields, number = counts.most_common(1)[0]
    return (number / counts.total() if fields > 1 else 0), fields


def _rows(records: Sequence[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO("\n".join(records), newline=""), delimiter=separator)


def _is_header(row: Sequence[str]) -> bool:
    """Whether each field is a name: not empty, not twice there, not a number, a date or a truth value."""
    names = [field.strip() for field in row]
    return all(names) and len(set(names)) == len(names) and not any(map(_VALUE.fullmatch, names))


def _ending(ask: Request) -> str:
    """The ending of the path, or of a file in the folder, without that of a compression."""
    name = unquote(ask.paths[0].rstrip("/"))
    if not _of(name):
        files = ask.session.spark.read.format("binaryFile").load(ask.paths).select("path").take(1)
        name = files[0].path if files else name
    return _of(name)


def _of(name: str) -> str:
    stem = next((name.removesuffix(packed) for packed in _PACKED if name.endswith(packed)), name)
    return (re.search(r"\.\w+$", stem.rpartition("/")[2]) or [""])[0].lower()
