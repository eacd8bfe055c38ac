"""Excel files, through pandas and openpyxl, in the driver: they are small."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from sqlllm.errors import OptionError, PackageError, TableError

from . import options

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
_OPTIONS = ("header", "useHeader", "sheet")


def read(ask: Request) -> DataFrame:
    """One sheet, the first unless `sheet` names another; without `header` the columns are _c0, _c1 ..."""
    pandas = _pandas()
    header = _header(ask)
    try:
        frame = pandas.read_excel(
            _file(ask), sheet_name=ask.options.get("sheet", 0), header=0 if header else None, engine="openpyxl"
        )
    except (OSError, ValueError, KeyError, BadZipFile) as error:  # the last two: a file that is no workbook
        raise TableError(f"cannot read {ask.path}: {error}", place=ask.place) from None
    from pyspark.sql.types import StructType

    schema, columns = StructType(), []
    for name, column in frame.items():
        kind, convert = _KINDS.get(pandas.api.types.infer_dtype(column, skipna=True), ("string", str))
        schema.add(str(name) if header else f"_c{name}", kind)
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
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet = ask.options.get("sheet", "Sheet1")
    frame.toPandas().to_excel(file, sheet_name=sheet, header=header, index=False, engine="openpyxl")


def _header(ask: Request) -> bool:
    options.check(ask.options, _OPTIONS)
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
