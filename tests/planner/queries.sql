-- Selects that call a model, and the least calls each can do with.
--
-- `name`, `least` (a query that counts the distinct requests whose answers the select needs) and, if rows come in a
-- known order, `ordered`. ask(x) stands for llm_result(up(llm_param(map('instruction', x)))), request(x) for
-- llm_param(map('instruction', x)). The tables are in cases.py: t(id, even, p, u, n, b, g), 240 rows in 4 partitions:
-- p has 20 values, u is unique, n is NULL in every tenth row, b starts with "bad" in every fifth (the model refuses
-- it), g has 3 values; s(id, k), 12 rows, id 5, 15, ... 115.

-- name: duplicates
-- least: select count(distinct p) from t
-- ordered
select id, ask(p) as a from t

-- name: duplicates with NULLs
-- least: select count(distinct n) from t
-- ordered
select id, n, ask(n) as a from t

-- name: rows that fail
-- least: select count(distinct b) from t
-- ordered
select id, llm_error(up(request(b))) as e, ask(b) as a from t

-- name: limit
-- least: select count(distinct p) from (select p from t limit 10)
select p, ask(p) as a from t limit 10

-- name: limit of a subquery
-- least: select count(distinct p) from (select p from t limit 10)
select * from (select p, ask(p) as a from t) limit 10

-- name: limit and offset in order
-- least: select count(distinct p) from (select p from t order by id desc limit 7 offset 30)
-- ordered
select id, ask(p) as a from t order by id desc limit 7 offset 30

-- name: order by what is not shown
-- least: select 5
-- ordered
select ask(u) as a from t order by even, id limit 5

-- name: order by an expression that an alias hides
-- least: select 6
-- ordered
select upper(u) as u, ask(u) as a from t order by u desc limit 6

-- name: limit of an ordered subquery
-- least: select 4
-- ordered
select x.id, x.a from (select id, ask(u) as a from t where even = 0) x order by id limit 4

-- name: order by a cheap column
-- least: select count(distinct u) from t
-- ordered
select id, ask(u) as a from t order by id desc

-- name: order by the answer
-- least: select count(distinct p) from t
-- ordered
select id, ask(p) as a from t order by a desc nulls last, id

-- name: order by the answer with a limit
-- least: select count(distinct p) from t
-- ordered
select id, ask(p) as a from t order by 2, 1 limit 9

-- name: a select list that goes on with its aliases
-- least: select count(distinct p) from t
-- ordered
select *, up(request(p)) as q, llm_result(q) as a, llm_error(q) as e from t

-- name: the same call in several places
-- least: select count(distinct p) from t where id < 90
-- ordered
select id, ask(p) as a, length(ask(p)) as n from t where id < 90 and ask(p) is not null order by ask(p), id

-- name: a cheap condition after the model
-- least: select count(distinct u) from t where id < 30
-- ordered
select id from t where ask(u) like 'U1%' and id < 30

-- name: two conditions with models
-- least: select count(distinct u) + (select count(distinct p) from t where id < 60 and u like 'u1%') from t where id < 60
-- ordered
select id from t where ask(u) like 'U1%' and id < 60 and ask(p) > 'P1'

-- name: or
-- least: select count(distinct u) from t where not id < 200
-- ordered
select id from t where id < 200 or ask(u) like '%3'

-- name: and in the select list
-- least: select count(distinct u) from t where id < 20
-- ordered
select id, id < 20 and ask(u) like '%3' as a from t

-- name: not, or and NULL
-- least: select count(distinct u) from t where n > 'n2' is not true
-- ordered
select id, not (n > 'n2' or ask(u) is null) as a from t

-- name: case
-- least: select count(distinct u) from t where id >= 50 and even = 0
-- ordered
select id, case when id < 50 then 'first' when even = 0 then ask(u) end as a from t

-- name: case of one model in each branch
-- least: select count(distinct coalesce(case when g = 0 then p when n is not null then n else u end)) from t
-- ordered
select id, case g when 0 then ask(p) else case when n is not null then ask(n) else ask(u) end end as a from t

-- name: branches that ask the same
-- least: select count(distinct case when even = 0 then p else concat('p', (id + 5) % 20) end) from t
-- ordered
select id, case when even = 0 then ask(p) else lower(ask(concat('p', (id + 5) % 20))) end as a from t

-- name: if
-- least: select count(distinct if(id % 7 = 0, u, p)) from t
-- ordered
select id, if(id % 7 = 0, ask(u), ask(p)) as a from t

-- name: coalesce
-- least: select count(distinct u) from t where n is null
-- ordered
select id, coalesce(n, ask(u)) as a from t

-- name: nvl and nvl2
-- least: select count(distinct u) from t where n is null
-- ordered
select id, nvl(n, ask(u)) as a, nvl2(n, 'known', ask(u)) as b from t

-- name: a model that guards a model
-- least: select count(distinct p) + (select count(distinct u) from t where p like 'p1%') from t
-- ordered
select id, case when ask(p) like 'P1%' then ask(u) else 'none' end as a from t

-- name: a guard that would fail elsewhere
-- least: select count(distinct u) from t where even <> 0
-- ordered
select id, case when even = 0 then null when 10 div even > 2 then ask(u) end as a from t

-- name: two turns
-- least: select count(distinct p) + count(distinct p, g) from t
-- ordered
select id, llm_result(up(llm_stack(up(request(p)), request(concat('g', g))))) as a from t

-- name: group by the answer
-- least: select count(distinct p) from t
select ask(p) as k, count(*) as c, max(id) as m from t group by k

-- name: group by the answer and sort
-- least: select count(distinct p) from t
-- ordered
select ask(p) as k, g, count(*) as c from t group by 1, g order by c desc, k, g limit 5

-- name: having with a model
-- least: select count(*) from (select p from t where id < 70 group by p having count(*) > 3)
select p, count(*) as c from t where id < 70 group by p having ask(p) > 'P0' and count(*) > 3

-- name: an aggregate of answers
-- least: select count(distinct p) from t
-- ordered
select g, max(ask(p)) as m, count(distinct ask(p)) as d, sum(case when ask(p) > 'P5' then 1 else 0 end) as c
from t group by g order by g

-- name: an aggregate with a filter
-- least: select count(distinct u) from t where id < 11
select count(ask(u)) filter (where id < 11) as c from t

-- name: a model over aggregates
-- least: select count(distinct g) from t
select g, ask(concat('max ', max(id))) as a from t group by g

-- name: distinct
-- least: select count(distinct p) from t
select distinct g, ask(p) as a from t

-- name: distinct in order
-- least: select count(distinct p) from t
-- ordered
select distinct ask(p) as a from t order by a limit 3

-- name: a window and then the model
-- least: select 15
select id, row_number() over (partition by g order by id desc) as r, ask(u) as a from t qualify r <= 5

-- name: a window in a subquery
-- least: select 3
select id, ask(u) as a from (select *, row_number() over (partition by g order by id) as r from t) where r = 1

-- name: a window over answers
-- least: select count(distinct u) from t
select id, lag(ask(u)) over (partition by g order by id) as a, rank() over (order by ask(u)) as r from t

-- name: a subquery with a condition on its answers
-- least: select count(distinct p) from t where id < 100
-- ordered
select id, a from (select id, p, ask(p) as a from t) where a > 'P1' and id < 100 order by id

-- name: a join that drops rows
-- least: select count(distinct t.u) from t join s on t.id = s.id
select t.id, s.k, ask(t.u) as a from t join s on t.id = s.id

-- name: a join with a subquery that asks
-- least: select count(distinct t.u) from t join s on t.id = s.id where s.k > 2
select x.id, x.a, s.k from (select id, ask(u) as a from t) x join s on x.id = s.id where s.k > 2

-- name: a join that repeats rows
-- least: select count(distinct u) from s join t on s.id = t.id
select x.id, y.id as j, ask(x.u) as a from t x join s z on x.id = z.id join t y on x.g = y.g

-- name: a left join
-- least: select count(distinct p) from t where even = 0
-- ordered
select x.*, s.k, ask(x.p) as a from t x left join s on x.id = s.id where x.even = 0 order by x.id

-- name: a model in the condition of a join
-- least: select count(distinct t.u) from t join s on t.id = s.id
select t.id, s.k from t join s on t.id = s.id and ask(t.u) > 'U1'

-- name: a join on answers
-- least: select count(distinct u) from t
select x.id, y.id as j from t x join t y on ask(x.u) = ask(y.u)

-- name: a join with using
-- least: select count(distinct p) from t join s using (id)
select id, k, p, ask(p) as a from t join s using (id)

-- name: lateral view
-- least: select count(distinct p, i) from t lateral view explode(array(1, 2)) e as i where id < 30
select id, i, ask(concat(p, i)) as a from t lateral view explode(array(1, 2)) e as i where id < 30

-- name: a CTE read once
-- least: select count(distinct u) from t where id between 5 and 9
-- ordered
with c as (select id, ask(u) as a from t where id > 4) select id, upper(a) as a from c where id < 10 order by id

-- name: a CTE read twice
-- least: select count(distinct u) from t
with c as (select id, g, ask(u) as a from t) select x.id, x.a, y.a as b from c x join c y on x.id = y.id + 1

-- name: a CTE read twice in parts
-- least: select count(distinct u) from t where id < 20
with c as (select id, ask(u) as a from t) select * from c where id < 10 union all select * from c where id < 20

-- name: union all
-- least: select count(distinct u) from t where id < 20
select id, ask(u) as a from t where id < 10 union all select id, ask(u) from t where id < 20

-- name: union in order
-- least: select count(distinct u) from t where id < 20
-- ordered
select id, ask(u) as a from t where id < 10 union select id, ask(u) from t where id < 20 order by id

-- name: union of different tables
-- least: select count(distinct x) from (select p as x from t union all select concat('p', k) from s)
select 't' as name, ask(p) as a from t union all select 's', ask(concat('p', k)) from s

-- name: a scalar subquery
-- least: select count(distinct p) from t
select id, (select max(ask(p)) from t) as m from s

-- name: in a subquery
-- least: select count(distinct p) from t where g = 1
select id from t where p in (select p from t where g = 1 and ask(p) > 'P1')

-- name: answers that nobody reads
-- least: select 0
select count(*) as c from (select id, ask(u) as a from t)

-- name: a struct in the request
-- least: select count(distinct p, g) from t
-- ordered
select id, ask(to_json(struct(p, g))) as a from t

-- name: a CTE of which each reader keeps some rows
-- least: select count(distinct u) from t where g = 1
with c as (select *, ask(u) as a from t) select x.a, y.a as other from c x join c y on x.id = y.id + 3 where x.g = 1 and y.g = 1

-- name: a CTE whose readers keep different rows
-- least: select count(distinct u) from t where id < 9 or g = 2
with c as (select id, g as kind, ask(u) as a from t) select id, kind, a from c where id < 9 union all select id, kind, a from c where kind = 2

-- name: except of the same rows
-- least: select count(distinct u) from t where id < 10 and not id > 5
select id, ask(u) as a from t where id < 10 except select id, ask(u) from t where id > 5

-- name: intersect of the same rows
-- least: select count(distinct u) from t where id < 10 and id > 5
select id, ask(u) as a from t where id < 10 intersect select id, ask(u) from t where id > 5

-- name: except with a condition on the answer
-- least: select count(distinct p) from t
select g, ask(p) as a from t except select g, ask(p) from t where ask(p) like 'P1%'
