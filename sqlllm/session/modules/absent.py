"""Modules of Byzer-SQL that are not here: each says why and what to write."""

from __future__ import annotations

from .. import registry

_EMBED = ("an embedding model does it better", 'Deploy one, action="infer": its function gives a text\'s vector.')
_SEND = ("nothing is sent from here", "Save the table, and send the file by what runs the script.")
_SHAPE = ("a select does it", "Write (x - min(x) over ()) / (max(x) over () - min(x) over ()) as x.")

ABSENT = {
    "AutoML": ("it trains one module after another", "Train each with evaluateTable, and compare their measures."),
    "ConfusionMatrix": ("a select does it", "Write select label, prediction, count(*) as n from t group by 1, 2 as m;"),
    "Discretizer": ("a select does it", "Write width_bucket(x, 0, 10, 5), or case when x < 1 then 0 ... end."),
    "EmptyTableWithSchema": ("a select does it", "Write select cast(null as int) as a where false as t;"),
    "FeatureExtractInPlace": ("a select does it", "Write regexp_extract_all(text, '[0-9]{11}', 0) and its like."),
    "FeishuMessageExt": _SEND,
    "LLMQABuilder": (
        "an index does it",
        "Write save overwrite t as index.`kb`, then ai_search(index => 'kb', query => q).",
    ),
    "NormalizeInPlace": _SHAPE,
    "PatternDistribution": ("a select does it", "Write regexp_replace(x, '[0-9]', '9') as p, count(*) ... group by 1."),
    "PredictionEva": ("it has another name", 'Write run t as ClassificationEvaluator.`` where labelCol="label";'),
    "ScalerInPlace": _SHAPE,
    "SendMessage": _SEND,
    "TfIdfInPlace": _EMBED,
    "VecMapInPlace": ("a select does it", "Write vec_dense(map_values(m)) as features."),
    "Word2VecInPlace": _EMBED,
}
registry.absent(ABSENT)
