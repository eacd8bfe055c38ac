"""The committed list of Spark's functions is that of the Spark that runs, and its own examples raise no false alarm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sqlllm.dialect import builtins, parse
from sqlllm.dialect.statements import Select
from sqlllm.session.called import Functions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


def test_every_function_of_spark_is_known_and_every_known_one_is_there(spark: SparkSession) -> None:
    known = builtins.functions()
    words = {row[0] for row in spark.sql("show system functions").collect() if re.fullmatch(r"[a-z]\w*", row[0])}
    assert words - known.keys() == {"case"}
    grammar = {"timediff", "timestampadd", "timestampdiff"}
    assert known.keys() - words - grammar == set()


def test_the_examples_of_spark_are_calls_that_it_takes(spark: SparkSession) -> None:
    info = spark._jvm.org.apache.spark.sql.catalyst.analysis  # type: ignore[union-attr]
    examples = []
    for registry in (info.FunctionRegistry, info.TableFunctionRegistry):
        names = registry.builtin().listFunction().iterator()
        while names.hasNext():
            name = names.next()
            text = registry.builtin().lookupFunction(name).get().getExamples().replace("_FUNC_", name.funcName())
            examples += re.findall(r"> (SELECT .+?);\n", text, re.S)
    assert len(examples) > 900
    wrong = []
    for example in examples:
        for statement in parse(f"{example} as t;").statements:
            assert isinstance(statement, Select)
            wrong += [f"{error}" for error in Functions().check(statement.sql)]
    assert wrong == []
