"""Spark's machine learning: train t as RandomForest.`path` where ... ; predict t as RandomForest.`path` as u;

A model lies in `path/_model_VERSION/model/INDEX`, one for each group of parameters `fitParam.INDEX.`; what is known of
them in `path/_model_VERSION/meta`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError, TableError, suggest

from .. import guard, options, queries
from ..registry import module
from ..tables import Result, identifier, table_named
from .inputs import input_table, options_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session

ALGORITHMS = {
    "ALSInPlace": "recommendation.ALS",
    "GBTClassifier": "classification.GBTClassifier",
    "GBTRegressor": "regression.GBTRegressor",
    "GBTs": "classification.GBTClassifier",
    "KMeans": "clustering.KMeans",
    "LDA": "clustering.LDA",
    "LinearRegression": "regression.LinearRegression",
    "LogisticRegression": "classification.LogisticRegression",
    "NaiveBayes": "classification.NaiveBayes",
    "RandomForest": "classification.RandomForestClassifier",
}
"""Byzer-SQL's names, and the classes of pyspark.ml."""
_CLASSES = {name.lower(): kind for name, kind in ALGORITHMS.items()}

_OWN = {
    "keepVersion": "true keeps the models of earlier runs",
    "evaluateTable": "a table to measure each model on",
    "userRec": "ALSInPlace: how many items to recommend to each user, in path/data/userRec",
    "itemRec": "ALSInPlace: how many users to recommend to each item, in path/data/itemRec",
    "fitParam.0.NAME": "a parameter of Spark's class, of the first model; NAME alone is of all",
}
_CHOICE = ("algIndex", "autoSelectByMetric")
_METRICS = {
    "classification": ("f1", "weightedPrecision", "weightedRecall", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
    "recommendation": ("rmse", "mae", "r2"),
}
_LESS_IS_BETTER = ("rmse", "mae")
_META = "version int, index int, metrics string"


def _numbers(text: str) -> list[float]:
    """A list, or the one number that stands for all."""
    found = json.loads(text)
    return found if isinstance(found, list) else [float(found)]


_READERS: dict[str, Callable[[str], Any]] = {
    "toBoolean": {"true": True, "false": False}.__getitem__,
    "toFloat": float,
    "toInt": int,
    "toListFloat": _numbers,
    "toString": str,
}


def train_or_predict(session: Session, run: Run) -> Result:
    """Trains a model of Spark on each group of parameters; with `predict` for `train`, adds its columns to a table."""
    path = run.path.resolve(session.variables).rstrip("/")
    guard.check_path(session, path, run.path.place)
    given = run.options.resolve(session.variables)
    name = _CLASSES[run.module.resolve(session.variables).lower()]
    with queries.errors_at(run.place):
        return (_predict if run.keyword == "predict" else _train)(session, run, name, path, given)


for _name in ALGORITHMS:
    module(_name, **_OWN)(train_or_predict)


def _train(session: Session, run: Run, name: str, path: str, given: dict[str, str]) -> Result:
    frame = input_table(session, run)
    test = table_named(session, run.options["evaluateTable"].value) if "evaluateTable" in given else None
    keeps = options.flag(given, "keepVersion", False)
    known = _known(session, path)
    version = max((row["version"] for row in known), default=-1) + 1 if keeps else 0
    told, meta = list[dict[str, str]](), list[dict[str, object]]()
    for index, parameters in enumerate(_groups(given)):
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        estimator = _estimator(name, parameters)
        model = estimator.fit(_with_vectors(frame, estimator))
        folder = f"{path}/_model_{version}/model/{index}"
        model.write().overwrite().save(folder)
        metrics = {} if test is None else _measured(name, model, estimator, test)
        meta.append({"version": version, "index": index, "metrics": json.dumps(metrics)})
        facts = {
            "modelPath": folder,
            "algIndex": str(index),
            "alg": name,
            "metrics": ", ".join(f"{metric}: {value:.4f}" for metric, value in metrics.items()),
            "status": "success",
            "startTime": started,
            "endTime": time.strftime("%Y-%m-%d %H:%M:%S"),
            "trainParams": json.dumps(parameters),
        }
        told += [{"name": key, "value": value} for key, value in facts.items()]
        for key, recommend in (("userRec", "recommendForAllUsers"), ("itemRec", "recommendForAllItems")):
            if key in given and name == ALGORITHMS["ALSInPlace"]:
                found = getattr(model, recommend)(options.count(given, key))
                found.write.mode("overwrite").parquet(f"{path}/data/{key}")
    session.table(meta, _META).coalesce(1).write.mode("overwrite").parquet(f"{path}/_model_{version}/meta")
    return Result(session.table(told, "name string, value string"), place=run.place)


def _predict(session: Session, run: Run, _name: str, path: str, given: dict[str, str]) -> Result:
    from pyspark.ml.util import DefaultParamsReader

    options.check(given, _CHOICE)
    known = _known(session, path)
    latest = max((row["version"] for row in known), default=-1)
    candidates = [row for row in known if row["version"] == latest]
    if not candidates:
        cure = f"Write train ... as {run.module}.`{path}`; before."
        raise TableError(f"there is no model in {path}", cure=cure, place=run.path.place)
    index = given.get("algIndex", str(_best(candidates, given)))
    if index not in {str(row["index"]) for row in candidates}:
        raise OptionError(f"there is no model {index}; there are {len(candidates)}", key="algIndex")
    model: Any = DefaultParamsReader.loadParamsInstance(f"{path}/_model_{latest}/model/{index}", session.spark)
    return Result(model.transform(_with_vectors(input_table(session, run), model)), place=run.place)


def _known(session: Session, path: str) -> list[Any]:
    from pyspark.errors import AnalysisException

    try:
        return session.spark.read.schema(_META).parquet(f"{path}/_model_*/meta").collect()
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return []
        raise


def _best(candidates: list[Any], given: dict[str, str]) -> int:
    """The index of the model with the best `autoSelectByMetric`; the first one's if none was measured so."""
    measured = [(row["index"], json.loads(row["metrics"])) for row in candidates]
    metric = given.get("autoSelectByMetric", next(iter(measured[0][1]), ""))
    values = [(found[metric], index) for index, found in measured if metric in found]
    if not values:
        return 0
    return int((min if metric in _LESS_IS_BETTER else max)(values, key=lambda pair: pair[0])[1])


def _groups(given: dict[str, str]) -> list[dict[str, str]]:
    """The parameters of each model: its own `fitParam.INDEX.NAME`, and those of all."""
    shared, groups = dict[str, str](), dict[int, dict[str, str]]()
    for key, value in given.items():
        if found := re.fullmatch(r"fitParam\.(\d+)\.(\w+)", key):
            groups.setdefault(int(found[1]), {})[found[2]] = value
        elif key not in _OWN:
            shared[key] = value
    return [{**shared, **groups[index]} for index in sorted(groups)] or [shared]


def _estimator(name: str, parameters: dict[str, str]) -> Any:
    package, _, kind = f"pyspark.ml.{name}".rpartition(".")
    estimator = getattr(import_module(package), kind)()
    names = [param.name for param in estimator.params]
    for key, text in parameters.items():
        if key not in names:
            cure = suggest(key, [*names, *_OWN], what="parameters")
            raise OptionError(f"unknown parameter {key}", cure=cure, key=key)
        param = estimator.getParam(key)
        read = _READERS.get(param.typeConverter.__name__, json.loads)
        try:
            estimator.set(param, read(text))
        except (KeyError, TypeError, ValueError):
            raise OptionError(f"{key} cannot be {text}", cure=param.doc, key=key) from None
    return estimator


def _with_vectors(frame: DataFrame, stage: Any) -> DataFrame:
    """`frame` with its features as a vector, if they are an array."""
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as f

    features = stage.getFeaturesCol() if stage.hasParam("featuresCol") else ""
    if dict(frame.dtypes).get(features) == "array<double>":
        return frame.withColumn(features, array_to_vector(f.col(identifier(features))))
    return frame


def _measured(name: str, model: Any, estimator: Any, test: DataFrame) -> dict[str, float]:
    task = name.partition(".")[0]
    label = "ratingCol" if task == "recommendation" else "labelCol"
    if task not in _METRICS:
        return {}
    return _evaluated(task, model.transform(_with_vectors(test, model)), estimator.getOrDefault(label))


def _evaluated(task: str, predictions: DataFrame, label: str, prediction: str = "prediction") -> dict[str, float]:
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator

    evaluator: Any = MulticlassClassificationEvaluator if task == "classification" else RegressionEvaluator
    rows = predictions.selectExpr(f"double({identifier(label)}) as l", f"double({identifier(prediction)}) as p").cache()
    found = {
        metric: evaluator(labelCol="l", predictionCol="p", metricName=metric).evaluate(rows)
        for metric in _METRICS[task]
    }
    rows.unpersist()
    return found


def _evaluate(task: str, session: Session, run: Run) -> Result:
    given = {"labelCol": "label", "predictionCol": "prediction", **options_of(session, run)}
    with queries.errors_at(run.place):
        found = _evaluated(task, input_table(session, run), given["labelCol"], given["predictionCol"])
    rows = [{"name": name, "value": value} for name, value in found.items()]
    return Result(session.table(rows, "name string, value double"), place=run.place)


_COLUMNS = {"labelCol": "the column of the truth (label)", "predictionCol": "that of the predictions (prediction)"}


@module("ClassificationEvaluator", **_COLUMNS)
def evaluate_classes(session: Session, run: Run) -> Result:
    """How good predicted classes are: f1, weightedPrecision, weightedRecall, accuracy."""
    return _evaluate("classification", session, run)


@module("RegressionEvaluator", **_COLUMNS)
def evaluate_numbers(session: Session, run: Run) -> Result:
    """How good predicted numbers are: rmse, mae, r2."""
    return _evaluate("regression", session, run)
