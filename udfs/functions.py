"""`llm_param`, `llm_prompt`, `llm_stack`, `llm_result`, `llm_error`: Spark SQL expressions, no Python at run time.

Requests and answers are JSON texts in arrays of one element, as in Byzer-LLM, so that published scripts run. An answer
is `{"output", "input", "metadata", "history"}`, or `{"error": {"kind", "message", "attempts"}}` if there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A template cut into placeholders and the text between them.
_PIECES = r"regexp_extract_all(tpl, r'\{\d*(?::[^{}]*)?\}|[^{]+|\{', 0)"
# An argument is inserted once and never read as a template again, so data cannot inject placeholders.
_PROMPT = rf"""
  aggregate(
    {_PIECES},
    named_struct('text', '', 'next', 0),
    (acc, piece) -> CASE
      WHEN piece RLIKE r'^\{{(\d*)(:[^{{}}]*)?\}}$' THEN named_struct(
        'text', acc.text || coalesce(
          get(args, coalesce(try_cast(regexp_extract(piece, r'^\{{(\d*)', 1) AS INT), acc.next)),
          regexp_extract(piece, r'^\{{\d*:([^{{}}]*)\}}$', 1)),
        'next', acc.next + if(piece RLIKE r'^\{{(:[^{{}}]*)?\}}$', 1, 0))
      ELSE named_struct('text', acc.text || piece, 'next', acc.next)
    END,
    acc -> acc.text)
"""
_WITH_NULLS = "map('ignoreNullFields', 'false')"

FUNCTIONS: dict[str, tuple[str, str, str, str]] = {
    # name: (parameters, return type, body, documentation)
    "llm_param": (
        "m MAP<STRING, STRING>",
        "ARRAY<STRING>",
        f"array(to_json(m, {_WITH_NULLS}))",
        "A request for a model function from a map of its keys: instruction, system_msg, temperature, ...",
    ),
    "llm_prompt": (
        "tpl STRING, args ARRAY<STRING>",
        "STRING",
        _PROMPT,
        "The template with {} (next), {0} (by position) and {1:default} filled in; a missing argument is empty.",
    ),
    "llm_stack": (
        "previous ARRAY<STRING>, param ARRAY<STRING>",
        "ARRAY<STRING>",
        "CASE WHEN get(previous, 0) IS NULL THEN NULL"
        " WHEN get_json_object(get(previous, 0), '$.error') IS NOT NULL"
        " THEN array('{\"error\":' || get_json_object(get(previous, 0), '$.error') || '}')"
        " ELSE array(to_json(map_concat("
        "map('history', get_json_object(get(previous, 0), '$.history')),"
        f" map_filter(from_json(get(param, 0), 'MAP<STRING, STRING>'), (k, v) -> k <> 'history')), {_WITH_NULLS})) END",
        "The next turn: `param` with the conversation of the answer `previous`; NULL and errors are passed on.",
    ),
    "llm_result": (
        "answer ARRAY<STRING>",
        "STRING",
        "get_json_object(get(answer, 0), '$.output')",
        "The text of an answer; NULL if there is none.",
    ),
    "llm_response_predict": (
        "answer ARRAY<STRING>",
        "STRING",
        "get_json_object(get(answer, 0), '$.output')",
        "Byzer-LLM's other name of llm_result.",
    ),
    "llm_error": (
        "answer ARRAY<STRING>",
        "STRING",
        "get_json_object(get(answer, 0), '$.error.kind') || ': ' || get_json_object(get(answer, 0), '$.error.message')",
        "Why an answer could not be had, as `kind: message`; NULL if it could.",
    ),
}


def register(spark: SparkSession) -> None:
    """Create the functions in `spark`'s session catalogue (Byzer-LLM's types)."""
    for name, (parameters, returns, body, comment) in FUNCTIONS.items():
        comment = comment.replace("'", "\\'")
        spark.sql(
            f"CREATE OR REPLACE TEMPORARY FUNCTION {name}({parameters}) RETURNS {returns}"
            f" COMMENT '{comment}' RETURN {body}"
        )
