"""`llm_param`, `llm_prompt`, `llm_stack`, `llm_result` and their kin: Spark SQL expressions, no Python at run time.

Requests and answers are JSON texts in arrays of one element, as in Byzer-LLM, so that published scripts run. An answer
is `{"output", "input", "metadata", "history"}`, with `thoughts` and `raw` where there are such, or
`{"error": {"kind", "message", "attempts"}}` if there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A template cut into placeholders, doubled braces, and the text between them.
_PIECES = r"regexp_extract_all(tpl, r'\{\{|\}\}|\{\d*(?::[^{}]*)?\}|[^{}]+|[{}]', 0)"


def prompt_body(nulls: str = "empty") -> str:
    """The SQL of llm_prompt(tpl, args) for a template that only the row holds; `nulls` as in llm.nulls.

    An argument is inserted once and never read as a template again, so data cannot inject placeholders. A missing one
    is empty, and a field by name is text: the names of values are not known here.
    """
    instead = "'NULL'" if nulls == "null" else "''"
    body = rf"""
  aggregate(
    {_PIECES},
    named_struct('text', '', 'next', 0, 'open', 0),
    (acc, piece) -> CASE
      WHEN piece = '{{{{' THEN named_struct('text', acc.text || '{{', 'next', acc.next, 'open', acc.open + 1)
      WHEN piece = '}}}}' AND acc.open > 0
        THEN named_struct('text', acc.text || '}}', 'next', acc.next, 'open', acc.open - 1)
      WHEN piece RLIKE r'^\{{(\d*)(:[^{{}}]*)?\}}$' THEN named_struct(
        'text', acc.text || coalesce(
          get(args, coalesce(try_cast(regexp_extract(piece, r'^\{{(\d*)', 1) AS INT), acc.next)),
          if(piece RLIKE ':', regexp_extract(piece, r'^\{{\d*:([^{{}}]*)\}}$', 1), {instead})),
        'next', acc.next + if(piece RLIKE r'^\{{(:[^{{}}]*)?\}}$', 1, 0),
        'open', acc.open)
      ELSE named_struct('text', acc.text || piece, 'next', acc.next, 'open', acc.open)
    END,
    acc -> acc.text)
"""
    return f"if(exists(args, one -> one is null), null, {body})" if nulls == "skip" else body


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
        prompt_body(),
        "The template with {} (next), {0} (by position), {name} and {1:default} filled in; {{ is a brace.",
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
    "llm_thoughts": (
        "answer ARRAY<STRING>",
        "STRING",
        "get_json_object(get(answer, 0), '$.thoughts')",
        "What the model thought before it answered, which is not a part of llm_result; NULL if it did not.",
    ),
    "llm_raw": (
        "answer ARRAY<STRING>",
        "STRING",
        "coalesce(get_json_object(get(answer, 0), '$.raw'), get_json_object(get(answer, 0), '$.output'))",
        "The answer as the model wrote it, with its thoughts, also where llm_result could not be read in it.",
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
