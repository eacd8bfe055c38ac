"""Excel files, through pandas and openpyxl, in the driver: they are small."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from sqlllm.errors import OptionError, PackageError, TableError

from . import options, replace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request

# What pandas calls the values of a column: their type in Spark. All others are text.
_KINDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "boolean": ("boolean", bool),
    "datetime64": ("timestamp", lambda moment: moment.to_pydatetime()),
    "floating": ("double", float),
    "integer": ("long", int),
    "mixed-integer-float": ("double", float),
}
_CELLS = re.compile(r"([A-Z]{1,3})(\d+)(?::([A-Z]{1,3})(\d+))?")
_SHEET = re.compile(r"(?:'(?P<quoted>[^']+)'|(?P<sheet>[^'!:]+))(?:!(?P<cells>.+))?")


def read(ask: Request) -> DataFrame:
    """One sheet, the first unless `sheet` or `dataAddress` names another, or a range of its cells.

    Without `header` the columns are _c0, _c1 ...
    """
    pandas = _pandas()
    header = _header(ask)
    part, wanted = _part(ask, header)
    try:
        frame = pandas.read_excel(
            _file(ask), engine="openpyxl", header=0 if header else None, comment=_comment(ask), **part
        ).iloc[:, wanted]
    except (OSError, ValueError, KeyError, BadZipFile) as error:  # the last two: a file that is not a workbook
        raise TableError(f"cannot read {ask.path}: {error}", place=ask.place) from None
    from pyspark.sql.types import StructType

    schema, columns = StructType(), []
    for position, (name, column) in enumerate(frame.items()):
        kind, convert = _KINDS.get(pandas.api.types.infer_dtype(column, skipna=True), ("string", str))
        schema.add(str(name) if header else f"_c{position}", kind)
        columns.append(
            [None if missing else convert(value) for value, missing in zip(column, column.isna(), strict=True)]
        )
    return ask.session.spark.createDataFrame(list(zip(*columns, strict=True)), schema)


def write(ask: Request, frame: DataFrame, mode: str) -> None:
    """One sheet; an existing file is replaced, kept or refused, as `mode` says."""
    _pandas()
    header, file = _header(ask), _file(ask)
    if mode == "append":
        raise OptionError("an Excel file cannot be appended to", cure="Write save overwrite.")
    if file.exists() and mode == "ignore":
        return
    if file.exists() and mode == "errorIfExists":
        raise TableError(f"{ask.path} exists already", cure="Write save overwrite.", place=ask.place)
    sheet = ask.options.get("sheet", "Sheet1")
    with replace.file(file) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "toPandas attempted Arrow")  # the error itself follows
        frame.toPandas().to_excel(beside, sheet_name=sheet, header=header, index=False, engine="openpyxl")


def _part(ask: Request, header: bool) -> tuple[dict[str, Any], slice]:
    """What to read of the file, as pandas has it, and which of the columns; a file may have fewer."""
    address = ask.options.get("dataAddress", "")
    cells, found = _CELLS.fullmatch(address), _SHEET.fullmatch(address)
    sheet: str | int = ask.options.get("sheet", 0)
    if cells is None and found is not None:
        sheet = found["quoted"] or found["sheet"]
        cells = _CELLS.fullmatch(found["cells"] or "")
    if address and cells is None and (found is None or found["cells"]):
        cure = "Write 'Sheet2'!A1:D9, Sheet2 or A1:D9."
        raise OptionError(f"{address} is not a part of a sheet", cure=cure, key="dataAddress")
    skipped = options.count(ask.options, "skipFirstNLines") if ask.options.get("skipFirstNLines", "0") != "0" else 0
    if cells is None:
        return {"sheet_name": sheet, "skiprows": skipped}, slice(None)
    left, top, right, bottom = cells.groups()
    part: dict[str, Any] = {"sheet_name": sheet, "skiprows": int(top) - 1 + skipped}
    if bottom:
        part["nrows"] = int(bottom) - int(top) + 1 - header
    return part, slice(_column(left) - 1, _column(right) if right else None)


def _column(letters: str) -> int:
    """The number of a column, from 1: AB is 28."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _comment(ask: Request) -> str | None:
    """The sign that begins a comment; Byzer-SQL's scripts protect a `#` from its templates as `#[[#]]#`."""
    return re.sub(r"#\[\[(.*?)\]\]#", r"\1", ask.options.get("comment", "")) or None


def _header(ask: Request) -> bool:
    return options.flag(ask.options, "header" if "header" in ask.options else "useHeader", False)


def _file(ask: Request) -> Path:
    return Path(ask.path.removeprefix("file://"))


def _pandas() -> Any:
    try:
        import_module("openpyxl")
        return import_module("pandas")
    except ImportError as error:
        package = (error.name or "openpyxl").partition(".")[0]
        raise PackageError.from_import_error(error, package=package, extra="excel") from error
