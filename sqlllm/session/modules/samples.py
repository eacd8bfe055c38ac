"""RateSampler splits a table in parts, SampleDatasetExt makes one up, UniqueIdentifier numbers the rows of one."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError

from .. import options
from ..registry import module
from ..tables import Result, identifier
from .inputs import columns_of, input_table, options_of

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Run

    from ..session import Session


@module(
    "RateSampler",
    labelCol="the column of the label; each label is split alike",
    sampleRate="the share of each part, as in 0.7,0.3",
    isSplitWithSubLabel="true counts rows in place of drawing each",
)
def rate_sampler(session: Session, run: Run) -> Result:
    """Adds the column `__split__`: 0 for rows of the first part, 1 for the second ..."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    given, frame = options_of(session, run), input_table(session, run)
    shares = _shares(given)
    labels = [identifier(name) for name in columns_of(frame, given, "labelCol", "label")]
    drawn = f.rand(seed=0)  # a seed, so that a table that is computed again is split the same way
    if options.flag(given, "isSplitWithSubLabel", False):
        window = Window.partitionBy(*labels).orderBy(drawn)
        drawn = (f.row_number().over(window) - 0.5) / f.count("*").over(Window.partitionBy(*labels))
    part = f.lit(0)
    for border in list(accumulate(shares))[:-1]:
        part = part + (f.col("__split__") >= border).cast("int")
    return Result(frame.withColumn("__split__", drawn).withColumn("__split__", part), place=run.place)


def _shares(given: dict[str, str]) -> list[float]:
    options.require(given, ["sampleRate"], "RateSampler")
    try:
        shares = [float(share) for share in given["sampleRate"].split(",")]
    except ValueError:
        shares = []
    if len(shares) < 2 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise OptionError("sampleRate is a row of shares with the sum 1", cure='Write "0.7,0.3".', key="sampleRate")
    return shares


@module(
    "SampleDatasetExt",
    columns="the names of its three columns (id,features,label)",
    size="how many rows (1000)",
    featuresSize="how many numbers a row has (10)",
    labelSize="how many labels there are (2)",
)
def sample_dataset(session: Session, run: Run) -> Result:
    """A table of random numbers: an id, an array of doubles, a label from 0."""
    from pyspark.sql import functions as f

    given = {"size": "1000", "featuresSize": "10", "labelSize": "2", **options_of(session, run)}
    size, width, labels = (options.count(given, key) for key in ("size", "featuresSize", "labelSize"))
    names = [name.strip() for name in given.get("columns", "id,features,label").split(",")]
    if len(names) != 3:
        raise OptionError("columns names three columns", cure='Write columns="id,features,label".', key="columns")
    features = f.array(*(f.rand(seed=index) for index in range(width)))
    label = f.floor(f.rand(seed=width) * labels).cast("int")
    return Result(session.spark.range(size).select("id", features, label).toDF(*names), place=run.place)


@module(
    "UniqueIdentifier",
    source="new (the default) adds the column, replace puts it in the place of one",
    columnName="its name (Unique_ID)",
)
def unique_identifier(session: Session, run: Run) -> Result:
    """Numbers the rows from 1, without gaps."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    given, frame = options_of(session, run), input_table(session, run)
    name = given.get("columnName", "Unique_ID")
    replaces = options.choice(given, "source", ("new", "replace")) == "replace"
    if replaces:
        columns_of(frame, given, "columnName", name)
    elif name in frame.columns:
        raise OptionError(f"there is a column {name} already", cure='Add source="replace".', key="columnName")
    order = Window.orderBy(f.monotonically_increasing_id())
    numbered = frame.withColumn(name, f.row_number().over(order).cast("long"))
    names = frame.columns if replaces else [name, *frame.columns]
    return Result(numbered.select([identifier(one) for one in names]), place=run.place)
