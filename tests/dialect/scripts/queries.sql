from t |> where a > 1 |> select a as u;
from t select a as u;
table t;
table t as u;
values (1, 'a'), (2, 'b') as pairs;
values (1) as t(n) as u;
FROM t
|> aggregate sum(a) group by b as u;
explain llm from t |> select m(a) as u;
