-- A select and what it becomes; without a second one it stays as it is. Models: up. t has the columns
-- id, p, q, r, s, n, c, d and g.

select id, up(p) as a from t
-- becomes
SELECT id, __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, p AS __llm_2 FROM t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id, up(p) as a from t order by id limit 5
-- becomes
SELECT id, __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, p AS __llm_2 FROM (SELECT *, id AS __llm_1 FROM t ORDER BY __llm_1 LIMIT 5) AS t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id, up(p) as a from t limit 5
-- becomes
SELECT id, __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, p AS __llm_2 FROM (SELECT * FROM t LIMIT 5) AS t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id, up(p) as a from t order by a
-- becomes
SELECT id, __llm_2 AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_2) AS t ORDER BY __llm_2

select *, up(p) as a, llm_result(a) as b from t
-- becomes
SELECT * EXCEPT (__llm_1, __llm_2, __llm_3), __llm_3 AS a, llm_result(__llm_3) AS b FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, p AS __llm_2 FROM t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id from t where up(p)[0] > 'x' and id < 5
-- becomes
SELECT id FROM (SELECT * FROM (SELECT *, spark_partition_id() AS __llm_4 FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, p AS __llm_2 FROM t WHERE id < 5 CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0) AS t) AS t WHERE __llm_4 >= 0 AND __llm_3[0] > 'x' DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id, case when c then up(p) else up(n) end as a from t
-- becomes
SELECT id, CASE WHEN c THEN __llm_3 ELSE __llm_3 END AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, COALESCE(CASE WHEN c THEN p END, CASE WHEN c THEN NULL ELSE n END) AS __llm_2 FROM t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id, if(c, up(p), null) as a, coalesce(n, up(q)[0]) as b, c and up(r) is not null as d, c or up(s) is null as e from t
-- becomes
SELECT id, IF(c, __llm_3, NULL) AS a, COALESCE(n, __llm_5[0]) AS b, c AND __llm_7 IS NOT NULL AS d, c OR __llm_9 IS NULL AS e FROM (SELECT *, up(__llm_8) AS __llm_9 FROM (SELECT *, CASE WHEN c THEN NULL ELSE s END AS __llm_8 FROM (SELECT *, up(__llm_6) AS __llm_7 FROM (SELECT *, CASE WHEN NOT c THEN NULL ELSE r END AS __llm_6 FROM (SELECT *, up(__llm_4) AS __llm_5 FROM (SELECT *, CASE WHEN n IS NULL THEN q END AS __llm_4 FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, CASE WHEN c THEN p END AS __llm_2 FROM t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0) AS t CLUSTER BY __llm_4) AS t WHERE spark_partition_id() >= 0) AS t CLUSTER BY __llm_6) AS t WHERE spark_partition_id() >= 0) AS t CLUSTER BY __llm_8) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select g, max(up(p)[0]) as m from t where d group by g having up(g)[0] > 'x' order by m
-- becomes
SELECT __llm_1 AS g, __llm_4 AS m FROM (SELECT * FROM (SELECT *, spark_partition_id() AS __llm_7 FROM (SELECT *, up(__llm_5) AS __llm_6 FROM (SELECT *, __llm_1 AS __llm_5 FROM (SELECT g AS __llm_1, MAX(__llm_3[0]) AS __llm_4 FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, p AS __llm_2 FROM t WHERE d CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0) AS t GROUP BY g) AS t CLUSTER BY __llm_5) AS t WHERE spark_partition_id() >= 0) AS t) AS t WHERE __llm_7 >= 0 AND __llm_6[0] > 'x' DISTRIBUTE BY __llm_4) AS t ORDER BY __llm_4

select distinct up(p)[0] as a from t order by a
-- becomes
SELECT DISTINCT __llm_2[0] AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0) AS t ORDER BY a

select x.id, s.k, up(x.p) as a from t x join s on x.id = s.id and up(s.k) is not null
-- becomes
SELECT __llm_2 AS id, __llm_1 AS k, __llm_9 AS a FROM (SELECT *, up(__llm_8) AS __llm_9 FROM (SELECT *, __llm_3 AS __llm_8 FROM (SELECT *, spark_partition_id() AS __llm_7 FROM (SELECT *, up(__llm_5) AS __llm_6 FROM (SELECT *, monotonically_increasing_id() AS __llm_4, __llm_1 AS __llm_5 FROM (SELECT s.k AS __llm_1, x.id AS __llm_2, x.p AS __llm_3 FROM t AS x JOIN s ON x.id = s.id) CLUSTER BY __llm_5) WHERE spark_partition_id() >= 0)) WHERE __llm_7 >= 0 AND __llm_6 IS NOT NULL CLUSTER BY __llm_8) WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_4) ORDER BY __llm_4

select id, up(p) as a from t qualify row_number() over (partition by g order by id) = 1
-- becomes
SELECT id, __llm_4 AS a FROM (SELECT *, up(__llm_3) AS __llm_4 FROM (SELECT *, monotonically_increasing_id() AS __llm_2, p AS __llm_3 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY id) AS __llm_1 FROM t) AS t WHERE __llm_1 = 1 CLUSTER BY __llm_3) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_2) AS t ORDER BY __llm_2

select id, a from (select id, up(p) as a from t) where id < 5
-- becomes
SELECT id, __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, p AS __llm_2 FROM t WHERE id < 5 CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

with c as (select id, up(p) as a from t) select x.id from c x join c y on x.a[0] = y.a[0]
-- becomes
WITH c AS (SELECT id, __llm_2 AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0) AS t) SELECT x.id FROM c AS x JOIN c AS y ON x.a[0] = y.a[0]

select id, up(p) as a from t where c union all select id, up(q) from u
-- becomes
SELECT __llm_1 AS id, __llm_6 AS a FROM (SELECT *, up(__llm_5) AS __llm_6 FROM (SELECT *, monotonically_increasing_id() AS __llm_4, __llm_2 AS __llm_5 FROM (SELECT id AS __llm_1, p AS __llm_2 FROM t WHERE c UNION ALL SELECT id AS __llm_1, q AS __llm_2 FROM u) AS __llm_3 CLUSTER BY __llm_5) AS __llm_3 WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_4) AS __llm_3 ORDER BY __llm_4

select x.id from t x join t y on up(x.p)[0] = up(y.p)[0]
-- becomes
WITH __llm_1 AS (SELECT * EXCEPT (__llm_3, __llm_4), __llm_4 AS __llm_2 FROM (SELECT *, up(__llm_3) AS __llm_4 FROM (SELECT *, p AS __llm_3 FROM t CLUSTER BY __llm_3) AS t WHERE spark_partition_id() >= 0) AS t) SELECT x.id FROM __llm_1 AS x JOIN __llm_1 AS y ON x.__llm_2[0] = y.__llm_2[0]

select id, up(llm_stack(up(p), q)) as a from t
-- becomes
SELECT id, __llm_5 AS a FROM (SELECT *, up(__llm_4) AS __llm_5 FROM (SELECT *, llm_stack(__llm_3, q) AS __llm_4 FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, monotonically_increasing_id() AS __llm_1, p AS __llm_2 FROM t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0) AS t CLUSTER BY __llm_4) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select id, llm_result(p) from t

select id, case when rand() < 0.5 then up(p) end as a from t

select id, up(concat(p, uuid())) as a from t

select id from t where up(p) is not null limit 5

select x.id from (select id, g, up(p) as a, row_number() over (order by id) as r from t) x, s limit 5

select own(id), up(p) as a from t limit 5

select own(id), count(*), max(up(p)) from t

select g, collect_list(up(p)) as l from t group by g

select g, count(up(p)) from t group by rollup (g)

select id, up(p) as a from t cluster by id

select id, up(p, q) as a from t

select up(p) as a from

insert into u select up(p) from t

select 1 as __llm_1, up(p) as a from t

with s as (select *, up(p) as a from t) select x.a from s x join s y on x.a <> y.a where x.g = 1 and y.g = 2 and x.id > y.id
-- becomes
WITH s AS (SELECT * EXCEPT (__llm_1, __llm_2), __llm_2 AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t WHERE g = 1 OR g = 2 CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0) AS t) SELECT x.a FROM s AS x JOIN s AS y ON x.a <> y.a WHERE x.g = 1 AND y.g = 2 AND x.id > y.id

with s as (select *, up(p) as a from t) select x.a from s x left join s y on x.a <> y.a where x.g = 1 and y.g = 1
-- becomes
WITH s AS (SELECT * EXCEPT (__llm_1, __llm_2), __llm_2 AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0) AS t) SELECT x.a FROM s AS x LEFT JOIN s AS y ON x.a <> y.a WHERE x.g = 1 AND y.g = 1

with s as (select *, up(p) as a from t) select x.a from s x join s y on x.a <> y.a where x.g = 1
-- becomes
WITH s AS (SELECT * EXCEPT (__llm_1, __llm_2), __llm_2 AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0) AS t) SELECT x.a FROM s AS x JOIN s AS y ON x.a <> y.a WHERE x.g = 1

select p, q, up(p) as a from t group by all
-- becomes
SELECT __llm_1 AS p, __llm_2 AS q, __llm_4 AS a FROM (SELECT *, up(__llm_3) AS __llm_4 FROM (SELECT *, __llm_1 AS __llm_3 FROM (SELECT p AS __llm_1, q AS __llm_2 FROM t GROUP BY p, q) AS t CLUSTER BY __llm_3) AS t WHERE spark_partition_id() >= 0) AS t

select id, up(p) as a from t order by id, a limit 3
-- becomes
SELECT id, __llm_4 AS a FROM (SELECT *, up(__llm_3) AS __llm_4 FROM (SELECT *, p AS __llm_3 FROM (SELECT *, RANK() OVER (ORDER BY __llm_1) AS __llm_2 FROM (SELECT *, id AS __llm_1 FROM t) AS t) AS t WHERE __llm_2 <= 3 CLUSTER BY __llm_3) AS t WHERE spark_partition_id() >= 0) AS t ORDER BY __llm_1, __llm_4 LIMIT 3

select * except (c), up(p) as a from t order by id limit 5
-- becomes
SELECT * EXCEPT (c, __llm_1, __llm_2, __llm_3), __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, p AS __llm_2 FROM (SELECT *, id AS __llm_1 FROM t ORDER BY __llm_1 LIMIT 5) AS t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select s.*, up(p) as a from t order by id limit 5
-- becomes
SELECT s.*, __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, p AS __llm_2 FROM (SELECT *, id AS __llm_1 FROM t ORDER BY __llm_1 LIMIT 5) AS t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select up(v:id::string) as a from t order by id limit 5
-- becomes
SELECT __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, CAST(v:id AS STRING) AS __llm_2 FROM (SELECT *, id AS __llm_1 FROM t ORDER BY __llm_1 LIMIT 5) AS t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

select up(identifier('p')) as a from identifier('t') order by id limit 5
-- becomes
SELECT __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, p AS __llm_2 FROM (SELECT *, id AS __llm_1 FROM t ORDER BY __llm_1 LIMIT 5) AS t CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS t ORDER BY __llm_1

with recursive c(k) as (select 1 union all select k + 1 from c where k < 9) select up(k) as a from c order by k limit 3
-- becomes
WITH RECURSIVE c(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM c WHERE k < 9) SELECT __llm_3 AS a FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, k AS __llm_2 FROM (SELECT *, k AS __llm_1 FROM c ORDER BY __llm_1 LIMIT 3) AS c CLUSTER BY __llm_2) AS c WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_1) AS c ORDER BY __llm_1

select id, up(p) as a from t window w as (partition by g order by id) qualify row_number() over w = 1
-- becomes
SELECT id, __llm_4 AS a FROM (SELECT *, up(__llm_3) AS __llm_4 FROM (SELECT *, monotonically_increasing_id() AS __llm_2, p AS __llm_3 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY g ORDER BY id) AS __llm_1 FROM t) AS t WHERE __llm_1 = 1 CLUSTER BY __llm_3) AS t WHERE spark_partition_id() >= 0 DISTRIBUTE BY __llm_2) AS t ORDER BY __llm_2

select x.id from t tablesample (10 percent) x join t tablesample (10 percent) y on up(x.p)[0] = up(y.p)[0]

select id, w from t lateral view explode(split(up(p)[0], ',')) e as w where id < 5 and w > 'x'
-- becomes
SELECT id, w FROM (SELECT * EXCEPT (__llm_2, __llm_3), __llm_3 AS __llm_1 FROM (SELECT *, up(__llm_2) AS __llm_3 FROM (SELECT *, p AS __llm_2 FROM t WHERE id < 5 CLUSTER BY __llm_2) AS t WHERE spark_partition_id() >= 0) AS t) AS t LATERAL VIEW EXPLODE(SPLIT(__llm_1[0], ',')) e AS w WHERE w > 'x'

select id, up(p) as a from t where id < 5 except select id, up(p) from t where id > 2
-- becomes
SELECT DISTINCT id, __llm_2 AS a FROM (SELECT *, up(__llm_1) AS __llm_2 FROM (SELECT *, p AS __llm_1 FROM t WHERE id < 5 AND NOT COALESCE(id > 2, FALSE) CLUSTER BY __llm_1) AS t WHERE spark_partition_id() >= 0) AS t
