"""A misspelt option is an error; the lists of known options are Spark's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.session.known_options import checked, known

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LISTS = {
    "avro": "avro.AvroOptions",
    "csv": "catalyst.csv.CSVOptions",
    "json": "catalyst.json.JSONOptions",
    "orc": "execution.datasources.orc.OrcOptions",
    "parquet": "execution.datasources.parquet.ParquetOptions",
    "text": "execution.datasources.text.TextOptions",
    "xml": "catalyst.xml.XmlOptions",
}


@pytest.mark.parametrize(
    ("format_", "key", "near"),
    [
        ("csv", "heder", "header"), ("csv", "delimeter", "delimiter"), ("json", "multiline_", "multiLine"),
        ("parquet", "mergeSchem", "mergeSchema"), ("orc", "compresion", "compression"),
        ("text", "wholeText_", "wholetext"),
        ("excel", "sheetname", "sheet"), ("jdbc", "pasword", "password"), ("xml", "rowtg", "rowTag"),
        ("csvStr", "heder", "header"), ("jsonStr", "multilin", "multiLine"), ("avro", "recordNam", "recordName"),
        ("hive", "compresion", "compression"), ("binaryFile", "pathGlobFilte", "pathGlobFilter"),
        ("kafka", "subscrbe", "subscribe"), ("image", "dropInvald", "dropInvalid"),
        ("libsvm", "numFeature", "numFeatures"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("writing", [False, True])
def test_a_misspelt_option_names_the_nearest(format_: str, key: str, near: str, writing: bool) -> None:
    with pytest.raises(OptionError) as raised:
        checked(format_, {key: "x"}, writing=writing)
    assert raised.value.key == key
    if near in (known(format_, writing=writing) or ()):
        assert f"Did you mean {near}?" in raised.value.cure


def test_case_does_not_matter_and_the_last_of_two_counts() -> None:
    assert checked("CSV", {"HEADER": "false", "InferSchema": "true", "header": "true"}, writing=False) == (
        {"header": "true", "inferSchema": "true"}, [],
    )  # fmt: skip
    assert checked("jdbc", {"FetchSize": "5", "filenum": "2"}, writing=True) == ({"fetchsize": "5", "fileNum": "2"}, [])


def test_what_belongs_to_the_other_direction_is_named() -> None:
    assert checked("csv", {"inferSchema": "true"}, writing=True)[1] == ["inferSchema"]
    assert checked("csv", {"quoteAll": "true"}, writing=False)[1] == ["quoteAll"]


@pytest.mark.parametrize(
    ("format_", "key"),
    [
        ("parquet", "parquet.block.size"), ("kafka", "kafka.bootstrap.servers"), ("csv", "fs.s3a.endpoint"),
        ("jdbc", "useSSL"), ("jdbc", "currentSchema"), ("jdbc", "rewriteBatchedStatements"), ("delta", "versionAsOf"),
    ],
)  # fmt: skip
def test_keys_of_drivers_hadoop_and_other_packages_pass(format_: str, key: str) -> None:
    assert checked(format_, {key: "x"}, writing=False) == ({key: "x"}, [])


@pytest.mark.slow
@pytest.mark.parametrize("format_", LISTS)
def test_spark_s_own_list(spark: SparkSession, format_: str) -> None:
    java: Any = spark.sparkContext._jvm
    for part in f"org.apache.spark.sql.{LISTS[format_]}".split("."):
        java = getattr(java, part)
    own = {name for name in java.getAllOptions().mkString(",").split(",") if "." not in name}
    ours = {*(known(format_, writing=False) or ()), *(known(format_, writing=True) or ())}
    assert own - ours == set()


@pytest.mark.slow
def test_spark_s_own_list_of_jdbc(spark: SparkSession) -> None:
    java: Any = spark.sparkContext._jvm
    options = java.org.apache.spark.sql.execution.datasources.jdbc.JDBCOptions
    own = {str(getattr(options, name)()) for name in dir(options) if name.startswith("JDBC_")}
    assert {name.lower() for name in own} - {name.lower() for name in known("jdbc", writing=True) or ()} == set()
