-- Spark's own
explain select 1 as a;
explain
formatted select a from llm;
-- What it would ask of models
explain llm select m(x) from t;
explain  LLM  with s as (select m(x) as y from t) select y from s as costs;
explain llm -- a comment
(select m(x) from t)
union all
(select m(y) from t) as costs;
