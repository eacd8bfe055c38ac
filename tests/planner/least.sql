-- More selects and the least calls each can do with, in the notation of queries.sql. They run on DuckDB in the tests,
-- and on Spark in bench.calls. `spark`: only on Spark, whose syntax DuckDB does not have.

-- name: order by all
-- least: select 5
-- ordered
select id, ask(u) as a from t order by all limit 5

-- name: a star without some columns
-- least: select 5
-- ordered
select * except (b, n), ask(u) as a from t order by id limit 5

-- name: a path into a variant
-- least: select 5
-- ordered
-- spark
select ask(v:a::string) as a from (select id, parse_json(concat('{"a": "', u, '"}')) as v from t) order by id limit 5

-- name: a recursive CTE
-- least: select 3
-- ordered
with recursive c(k) as (select 1 union all select k + 1 from c where k < 90) select k, ask(concat('r', k)) as a from c order by k limit 3

-- name: group by all
-- least: select 3
-- ordered
select g, even, count(*) as c, ask(concat(g, even)) as a from t group by all order by all limit 3

-- name: group by columns and the answer to them
-- least: select 1
select g, ask(concat('g', g)) as a, max(id) as m from t group by g, ask(concat('g', g)) having max(id) > 238

-- name: the fields of a struct
-- least: select 5
-- ordered
-- spark
select v.*, ask(u) as a from (select id, u, struct(id as i, g as h) as v from t) order by id limit 5

-- name: the fields of a struct above a join
-- least: select count(*) from t join s on t.id = s.id
-- spark
select v.*, s.k, ask(u) as a from (select id, u, struct(id as i, g as h) as v from t) x join s on x.id = s.id

-- name: a named window
-- least: select 6
select id, ask(u) as a from t window w as (partition by g order by id desc) qualify row_number() over w <= 2

-- name: a named window with a limit
-- least: select 4
-- ordered
select id, sum(id) over w as s, ask(u) as a from t window w as (partition by g order by id) order by id limit 4

-- name: a left join on the answer of its right side
-- least: select count(distinct k) from s
select t.id, s.k from t left join s on t.id = s.id and ask(concat('k', s.k)) > 'K1' where t.id < 130

-- name: identifier
-- least: select 3
-- ordered
-- spark
select identifier('up')(request(identifier('u'))) as a from identifier('t') order by id limit 3

-- name: nullif
-- least: select count(distinct u) from t where n is not null
-- ordered
select id, nullif(n, ask(u)) as a from t order by id

-- name: decode
-- least: select count(distinct case g when 0 then p when 1 then u end) from t where id < 60
-- spark
select id, decode(g, 0, ask(p), 1, ask(u), 'none') as a from t where id < 60

-- name: lateral view of an answer
-- least: select count(distinct p) from t where id < 10
-- spark
select id, w from t lateral view explode(split(ask(p), '')) e as w where id < 10 and w <> '1'

-- name: lateral of an answer
-- least: select count(distinct p) from t where id < 10
-- spark
select t.id, e.w from t, lateral explode(split(ask(t.p), '')) as e(w) where t.id < 10

-- name: a chain of CTEs
-- least: select 9
-- ordered
with a as (select id, ask(u) as x from t), b as (select id, upper(x) as y from a), c as (select * from b where id > 0) select * from c where id < 10 order by id

-- name: pipes
-- least: select 2
-- ordered
-- spark
from t |> where id < 40 |> extend ask(u) as a |> select id, a |> order by id |> limit 2

-- name: minus
-- least: select 2
select id, ask(u) as a from t where id < 5 minus select id, ask(u) from t where id < 3

-- name: union with a limit above
-- least: select 4
-- ordered
select * from (select id, ask(u) as a from t where id < 50 union all select id, ask(u) from t where id >= 50) x order by id limit 4

-- name: union of three in order
-- least: select count(distinct p) from t
-- ordered
select id, ask(p) as a from t where g = 0 union all select id, ask(p) from t where g = 1 union all select id, ask(p) from t where g = 2 order by id, a

-- name: having without models
-- least: select 1
select g, ask(concat('g', g)) as a from t group by g having max(id) > 238

-- name: distinct of few
-- least: select 3
select distinct g, ask(concat('g', g)) as a from t

-- name: ties of a cheap key
-- least: select count(distinct u) from t where g = 0
-- ordered
select g, ask(u) as a from t order by g, a limit 10

-- name: ties of a cheap key with an offset
-- least: select count(distinct u) from t where even = 0
-- ordered
select even, ask(u) as a from t order by even, a limit 5 offset 3

-- name: the first of each group by rank
-- least: select 4
select id, ask(u) as a from (select *, rank() over (partition by even order by id) as r from t) x where r <= 2

-- name: qualify that no row passes
-- least: select 0
select id, ask(u) as a from t qualify count(*) over (partition by p) > 100

-- name: a condition that is never true
-- least: select 0
select id, case when id < 0 then ask(p) end as a, ask(p) as b from t where id < 0 or (id > 500 and ask(p) > 'P')

-- name: an answer of an answer
-- least: select 2 * count(distinct p) from t where id < 60
select id, ask(ask(p)) as a from t where id < 60

-- name: a join in order with a limit
-- least: select 3
-- ordered
select x.id, ask(x.u) as a from t x join s y using (id) order by y.k desc limit 3

-- name: a left join that keeps what has no match
-- least: select count(distinct p) from t where id < 8 and id <> 5
select x.id, ask(x.p) as a from t x left join s y on x.id = y.id where y.id is null and x.id < 8

-- name: a semi join
-- least: select count(*) from s
select x.id, ask(x.u) as a from t x left semi join s y on x.id = y.id

-- name: an anti join
-- least: select 18
select x.id, ask(x.u) as a from t x left anti join s y on x.id = y.id where x.id < 20

-- name: a condition with a subquery
-- least: select count(*) from s
select id, ask(u) as a from t where id in (select id from s)

-- name: a condition with exists
-- least: select count(*) from s where k > 5
select id, ask(u) as a from t where exists (select 1 from s where s.id = t.id and s.k > 5)

-- name: a condition that compares with a subquery
-- least: select count(distinct u) from t where id > (select max(id) from s)
select id from t where ask(u) > 'U1' and id > (select max(id) from s)

-- name: values
-- least: select 2
select x, ask(x) as a from (values ('a'), ('a'), ('b')) as v(x)

-- name: range
-- least: select 3
-- spark
select id, ask(concat('r', id % 3)) as a from range(100)

-- name: pivot
-- least: select 1
-- spark
select g, ask(concat(zero, '-', one)) as a from (select * from (select g, even, id from t) pivot (count(id) for even in (0 as zero, 1 as one)))

-- name: unpivot
-- least: select 10
-- spark
select id, name, ask(value) as a from (select id, p, u from t) unpivot (value for name in (p, u)) where id < 5

-- name: words of a column
-- least: select count(distinct w) from (select explode(split(p, '1')) as w from t where id < 30) where w <> ''
-- spark
select id, ask(w) as a from (select id, explode(split(p, '1')) as w from t) where id < 30

-- name: one answer beside each row
-- least: select 1
select s.k, m.a from s cross join (select ask(max(p)) as a from t) m

-- name: the first answer of two
-- least: select count(distinct n) + count(distinct case when n is null then p end) from t
-- ordered
select id, coalesce(ask(n), ask(p), 'none') as a from t order by id

-- name: all columns in a request
-- least: select 5
-- ordered
-- spark
select id, ask(to_json(struct(*))) as a from t order by id limit 5

-- name: an answer in a struct that is filtered
-- least: select count(distinct p) from t where id < 30
-- spark
select v.a from (select id, named_struct('a', ask(p), 'i', id) as v from t) where id < 30

-- name: an answer compared with a subquery
-- least: select count(distinct p) from t where g = 0
select id from t where ask(p) > (select upper(min(p)) from t) and g = 0

-- name: a struct in an order
-- least: select 2
-- ordered
-- spark
select struct(g, id) as v, ask(u) as a from t order by struct(g, id) limit 2

-- name: a text with a quote
-- least: select count(distinct p) from t where id < 30
-- ordered
select id, ask(concat('it''s ', p)) as a from t where id < 30 order by id
