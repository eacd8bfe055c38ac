"""CSV as RFC 4180 defines it: a quote in a text is doubled, and a quoted text may hold line breaks.

An empty field is NULL, and `""` is the empty text. An option that the script gives wins over these defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from .formats import Request

_NO_TEXT = "\ufdd0"  # a character of no text: what Spark's parser gives for an empty field without quotes
_FILES = (
    "basePath", "encoding", "ignoreCorruptFiles", "ignoreMissingFiles", "modifiedAfter", "modifiedBefore",
    "pathGlobFilter", "recursiveFileLookup", "timeZone",
)  # fmt: skip
"""Options of csv that also say which files are read, and how their bytes become text."""
_RECORD = r'(?:[^"\r\n]++|"(?:[^"]++|"")*+"?+)*+'  # Java's; possessive, so that long texts need no stack
_HEAD = 10_000  # lines: the first record ends in them, and most files with line breaks in quotes show one there


def defaults(given: dict[str, str]) -> dict[str, str]:
    """`given` with the options of RFC 4180 where it does not say otherwise, for a reader and a writer."""
    quote = given.get("quote", '"')
    return {"escape": quote, **given} if quote else given


def reading(given: dict[str, str]) -> dict[str, str]:
    """The options of a reader: an empty field is NULL, an empty text in quotes is one."""
    found = defaults(given)
    # In a column of numbers `""` is not a number: a script that leaves out bad rows keeps those with an empty cell.
    if given.get("mode", "permissive").lower() != "permissive":
        return found
    return {"nullValue": _NO_TEXT, **found}


def writing(
    frame: DataFrame, given: dict[str, str], partition_by: Iterable[str] = ()
) -> tuple[DataFrame, dict[str, str]]:
    """The table and the options of a writer that keeps blanks at the ends of texts.

    A NULL alone in its row would be an empty line, which is not a row: such a table fails while it is written.
    """
    from pyspark.sql import functions as f

    from .tables import identifier

    options = {
        "ignoreLeadingWhiteSpace": "false",
        "ignoreTrailingWhiteSpace": "false",
        "emptyValue": 2 * given.get("quote", '"'),
        **defaults(given),
    }
    columns = [name for name in frame.columns if name not in set(partition_by)]
    if len(columns) == 1 and "nullValue" not in given:
        only = f.col(identifier(columns[0]))
        message = (
            f'{columns[0]} is NULL in a row, and CSV has no line for it\nWrite nullValue="NULL", or another column.'
        )
        frame = frame.withColumn(
            columns[0], f.coalesce(only, f.raise_error(f.lit(message)).cast(frame.schema[columns[0]].dataType))
        )
    return frame, options


def read(ask: Request) -> DataFrame:
    """The files of a csv load. They are looked through once: one with a line break in a quoted text is read whole.

    Others are split among the workers. `multiLine`, true or false, saves the look.
    """
    first, last = _skipped(ask)
    options = reading(ask.options)
    if first or last:
        return _without_ends(ask, options, first, last)
    if "multiLine" not in options and (separator := _separator(ask, options)):
        options = {"lineSep": separator, **options, "multiLine": "true"}
    return ask.session.spark.read.options(**options).csv(ask.paths)


def read_text(ask: Request, text: str) -> DataFrame:
    """The rows of a text in memory."""
    first, last = _skipped(ask)
    options = reading(ask.options)
    bare = re.sub(r"\A(?:[ \t]*\r?\n)+|(?:\r?\n[ \t]*)+\Z", "", text)  # as a block in quotes has them
    lines = re.split(r"\r?\n", bare)
    lines = lines[first : max(len(lines) - last, first)]
    rows = [{"value": record} for record in records(lines, options.get("quote", '"'), options.get("escape", ""))]
    return ask.session.spark.read.options(**_parsed_alone(options)).csv(ask.session.table(rows, "value string"))


def _without_ends(ask: Request, options: dict[str, str], first: int, last: int) -> DataFrame:
    """The rows between the first and the last lines of each file, which is read as a whole."""
    from pyspark.sql import functions as f

    files = ask.session.spark.read.options(**_of_files(options))
    lines = f.split(f.regexp_replace("value", r"\r?\n\z", ""), "\n")
    kept = f.slice(lines, first + 1, f.greatest(f.size(lines) - first - last, f.lit(0)))
    records = f.regexp_extract_all(f.array_join(kept, "\n"), f.lit(_RECORD), f.lit(0))
    text = files.text(ask.paths, wholetext=True).select(f.explode(records).alias("value"))
    return ask.session.spark.read.options(**_parsed_alone(options)).csv(text)


def _parsed_alone(options: dict[str, str]) -> dict[str, str]:
    """For records that are parsed one by one: their line breaks stay as they are."""
    return {"lineSep": "\n", **options, "multiLine": "true"}


def _separator(ask: Request, options: dict[str, str]) -> str:
    """What ends a record of files in which a quoted text holds a line break; empty if none does."""
    from pyspark.sql import functions as f

    quote = options.get("quote", '"')
    if not quote:
        return ""
    escape = options.get("escape", "")
    rows = _lines(ask, options, lineSep="\n").where(f.col("_metadata.file_block_start") == 0).take(_HEAD)
    lines = [row.value for row in rows]
    head = list(records(lines, quote, escape))
    if len(head) == len(lines) and not _any_opens(_lines(ask, options), quote, escape):
        return ""
    return "\r\n" if head and head[0].endswith("\r") else "\n"


def _lines(ask: Request, options: dict[str, str], **more: str) -> DataFrame:
    """The files as lines of text."""
    reader = ask.session.spark.read.options(**_of_files(options), **more).schema("value string")
    return reader.text(ask.paths)


def _any_opens(lines: DataFrame, quote: str, escape: str) -> bool:
    from pyspark.sql import functions as f

    found = lines.agg(f.max(_opens(quote, escape))).first()
    return bool(found and found[0])


def _opens(quote: str, escape: str) -> Column:
    """Whether a line has an odd number of quotes: it begins or ends a text of several lines."""
    from pyspark.sql import functions as f

    line: Column = f.col("value")
    if escape not in {"", quote}:
        line = f.regexp_replace(line, f"{re.escape(escape)}.", "")
    without = f.replace(line, f.lit(quote), f.lit(""))
    return ((f.octet_length(line) - f.octet_length(without)) / len(quote.encode())).cast("int") % 2 == 1


def records(lines: Iterable[str], quote: str, escape: str) -> Iterator[str]:
    """The lines, those of one record joined."""
    held: list[str] = []
    inside = False
    for line in lines:
        held.append(line)
        bare = re.sub(re.escape(escape) + ".", "", line) if escape not in {"", quote} else line
        inside ^= bool(quote) and bare.count(quote) % 2 == 1
        if not inside:
            yield "\n".join(held)
            held = []
    if held:
        yield "\n".join(held)


def _of_files(options: dict[str, str]) -> dict[str, Any]:
    found = {key: options[key] for key in _FILES if key in options}
    return {"encoding": options["charset"], **found} if "charset" in options else found


def _skipped(ask: Request) -> tuple[int, int]:
    """How many lines to leave out at the start and at the end."""
    skipped = []
    for key in ("skipFirstNLines", "skipLastNLines"):
        skipped.append(ask.options.pop(key, "0"))
        if not skipped[-1].isdecimal():
            raise OptionError(f"{key} is a whole number, not {skipped[-1]}", key=key)
    return int(skipped[0]), int(skipped[1])
