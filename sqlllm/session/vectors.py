"""vec_dense and vec_array: between arrays and the vectors of Spark's machine learning, as Byzer-SQL names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.ml.linalg import DenseVector

    from .session import Session

NAMES = ("vec_array", "vec_dense")


def register(session: Session, name: str) -> bool:
    """Make them functions of SQL if `name` is one of them; whether it is."""
    if name.lower() not in NAMES:
        return False
    from pyspark.ml.linalg import Vectors, VectorUDT

    def dense(numbers: list[float] | None) -> DenseVector | None:
        return None if numbers is None else Vectors.dense(numbers)

    def array(vector: DenseVector | None) -> list[float] | None:
        return None if vector is None else vector.toArray().tolist()

    # Spark has both, but not for SQL.
    session.spark.udf.register("vec_dense", dense, VectorUDT())
    session.spark.udf.register("vec_array", array, "array<double>")
    return True
