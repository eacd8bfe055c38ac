"""Formats that published scripts load and that are not here: each says why and what to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest

if TYPE_CHECKING:
    from sqlllm.places import Place

_CONNECTOR = "it needs its database's own connector for Spark"


def _jar(package: str, source: str) -> str:
    return f'Start with --set spark.packages={package}, and write the connector\'s own name: implClass="{source}".'


_FILES = "Export the rows as JSON lines or Parquet, and load those."
_ABSENT = {
    "adhockafka": ("it has another name", "Write load kafka with subscribe, startingOffsets and endingOffsets."),
    "binlog": ("streams are not supported", f"Load the table itself: load jdbc. {_FILES}"),
    "carbondata": (_CONNECTOR, _FILES),
    "everything": ("a format is named", "Write the format of the files: csv, json, parquet ..."),
    "fs": ("a format is named", "Write the format of the files: csv, json, parquet ... `!fs -ls` lists them."),
    "sas": ("Spark does not read it", "Read it in a --%python cell: pandas.read_sas gives a table."),
    "unstructured": ("a format is named", "Write load binaryFile, or load text."),
    "doris": (_CONNECTOR, _jar("org.apache.doris:spark-doris-connector-spark-3.5:VERSION", "doris")),
    "es": (_CONNECTOR, _jar("org.elasticsearch:elasticsearch-spark-30_2.13:VERSION", "org.elasticsearch.spark.sql")),
    "hbase": (_CONNECTOR, "Export the table to Parquet or CSV, and load that; or read it through Phoenix: load jdbc."),
    "kudu": (_CONNECTOR, _jar("org.apache.kudu:kudu-spark3_2.13:VERSION", "kudu")),
    "mongo": (_CONNECTOR, _jar("org.mongodb.spark:mongo-spark-connector_2.13:VERSION", "mongodb")),
    "redis": (_CONNECTOR, _jar("com.redislabs:spark-redis_2.13:VERSION", "org.apache.spark.sql.redis")),
    "solr": (_CONNECTOR, _jar("com.lucidworks.spark:spark-solr:VERSION", "solr")),
    "webconsole": ("streams are not supported", "A select without a name shows its rows."),
}  # fmt: skip
"""By name in lower case."""


def no_format(name: str, known: Sequence[str], place: Place) -> OptionError:
    """The error for a format that is not one of `known`."""
    if told := _ABSENT.get(name.lower()):
        return OptionError(f"format {name} is not here: {told[0]}", cure=told[1], place=place)
    return OptionError(f"unknown format {name}", cure=suggest(name, known, what="formats"), place=place)
