-- More selects whose rows must be the same with and without the planner; the notation is that of queries.sql.

select * from (select id, p as u, ask(u) as a from t) x where u = 'p3'

select id, p as n, ask(n) as a, n as m from t

select x.id, y.id as j, ask(concat(y.k, x.p)) as a from t x full outer join s y on x.id = y.id

select id, x.id as i, y.k, ask(coalesce(p, 'none')) as a from t x full outer join s y using (id)

select x.id, ask(x.p) as a from t x left semi join s on x.id = s.id

select x.id, ask(x.p) as a from t x left anti join s on x.id = s.id where x.id < 20

select x.id, z.a from s x left join (select id, ask(p) as a from t where even = 1) z on x.id = z.id

select x.id, z.a, s.k from (select id, ask(p) as a from t where even = 1) z right join s x on x.id = z.id join s on s.id = x.id

select z.*, s.k from (select id, p, ask(p) as a from t) z join s on s.id = z.id

select t.id, ask(t.u) as a from t, s where t.id = s.id

select id, collect_list(ask(p)) over (order by id rows between 1 preceding and current row) as a from t where id < 20

select g, sort_array(collect_list(ask(p))) as a from t group by g

select g, even, count(ask(p)) as c from t group by rollup (g, even)

select g as h, count(*) as c from t group by h having ask(h) > '1' order by h

select g as even, max(ask(p)) as a from t group by g order by even

select even as g, g as even, ask(g) as a from t order by g, even, id

select count(*), count(distinct ask(p)), max(ask(u)) from t where id < 0

select ask('one') as a from t limit 3

select ask('one') as a

select id, transform(array(1, 2), x -> x + id) as l, ask(p) as a from t

select id, exists (select 1 from s where s.id = t.id) as e, ask(p) as a from t

select id, (select max(k) from s where s.id = t.id) as k, ask(p) as a from t

select id, ask(p) as a from t where exists (select 1 from s where s.id = t.id and s.k > 2) and ask(p) > 'P1'

select id, ask((select max(p) from t)) as a from s

select id, a from (select id, ask(p) as a from t) where a in (select ask(p) from t where id < 3)

select id, named_struct('q', ask(p), 'n', n).q as a, map('k', ask(p))['k'] as b, array(ask(p), n)[1] as c from t

select id, ask(p) a, explode(array(1, 2)) as i from t

select `id` as `my id`, ask(`p`) as `the answer` from t order by `the answer`, `my id`

select t.*, ask(p) as a from t

select s.*, t.*, ask(p) as a from t join s on t.id = s.id

select * except (u, b), ask(p) as a from t

select id, case when n is null then 1 / (id - id % 10 - 3 + 3) else length(ask(p)) end as a from t where id > 10

select id, ask(case when even = 0 then p end) as a from t

select id, nullif(ask(p), 'P3') as a, greatest(ask(p), ask(n)) as b from t

select even, ask(max(p)) as a, max(ask(p)) as b from t group by even order by b, a

select distinct ask(p) as a, g from t order by g, a limit 4

select id, dense_rank() over (order by ask(p)) as r from t qualify r < 3 and ask(p) is not null

select id, ask(u) as a, sum(length(ask(u))) over (partition by g) as s from t where id < 40 order by id

with a as (select id, ask(p) as x from t), b as (select id, upper(x) as y from a) select * from b where id < 9 order by id

with t as (select id, ask(p) as p from t) select id, p from t where id < 9 order by id

with c as (select id, ask(p) as a from t) select * from c where id in (select id from c where a > 'P3')

select id, ask(p) as a from t where id < 10 union all (select id, ask(u) from t order by id limit 3)

select id, ask(p) as a from t where id < 10 intersect select id, ask(p) from t where id > 5

select id, ask(p) as a from t where id < 10 except select id, ask(p) from t where id > 5

select id, 'x' as a from t where id < 3 union all select id, ask(p) from t where id < 5 order by id, a

select ask(p) as a, id from t where id < 4 union select upper(ask(u)), id from t where id < 4 union select null, id from s

select * from (select id, ask(p) as a from t union all select id, ask(u) from t) order by a, id limit 7

select a, count(*) as c from (select ask(p) as a from t where id < 50) group by a having count(*) > 2 order by a

select id, ask(p) as a from t where ask(p) is null or n is null

select id, ask(n) is null or ask(p) > 'P5' as a, ask(n) is not null and ask(p) > 'P5' as b from t

select x.id, y.id as j from t x join s y on ask(x.p) = ask(concat('p', y.k)) where x.id < 30

select x.id from t x left join s y on x.id = y.id and ask(x.p) = 'P5' where x.id < 30

select id, q[0] is not null as some, size(q) as n from (select id, up(array(null, request(p)[0])) as q from t)

select id, ask(p) as a from values (1, 'x'), (2, 'y'), (3, null), (4, 'x') as v(id, p)

select id, ask(concat('p', id)) as a from range(5)

select cast(parse_json(concat('{"a": ', id, '}')) as string) as j, to_char(id, '999') as c, ask(p) as a from t

select instr(p, '1') as i, log(2, id + 1) as l, 1L as one, 1.50BD as d, date '2024-02-03' as day, ask(p) as a from t

select ask('same') as a, g, count(*) as c from t where ask('same') = 'SAME' group by g having ask('same') is not null

select id, ask(p) as a from t where id in (select max(id) from s) or ask(p) > 'P8' or ask(n) = 'N4' order by length(ask(p)), id

select id, to_json(struct(*)) as j, ask(to_json(struct(*))) as a from t order by id limit 5

select x.id, ask(to_json(struct(*))) as a from t x join (select id as k, k as m from s) y on x.id = y.k

select x.id, ask(concat_ws(' ', y.* except (id), x.p)) as a from t x left join s y on x.id = y.id where x.id < 30

select to_json(struct(*)) as j from (select id, ask(p) as a from t) where id < 5

select g, ask(to_json(struct(g, count(*) as c))) as a from t group by g

select v.*, x.w.*, ask(x.p) as a from (select id, p, struct(id as i, p as o) as v, struct(n) as w from t) x join s on x.id = s.id

select x.id, to_json((p, k)) as j, ask(to_json((p, upper(p), k))) as a from t x join (select id as m, k from s) y on x.id = y.m

select arrays_zip(array(p), array(id)) as z, ask(p) as a from (select id, p from t) where id < 9

select arrays_zip(x, y) as z, ask(p) as a from (select id, p, array(p) as x, array(id) as y from t) v join s on v.id = s.id

select *, w as x from t lateral view outer explode(split(ask(t.p), '1')) e as w where t.id < 20

select id, v, w from t lateral view explode(array(u, p)) e as v lateral view explode(split(ask(p), '1')) f as w where id < 20 and v > 'p1'

select id, 'it''s' as s, ask(p) like any ('P1%', 'P2%') as l from t where id < 9 order by id limit 3

select g, even, count(*) as c, max(ask(p)) as m from t group by cube (even, g)
