-- Selects that once came out wrong, over the tables of random_selects.py. Two models are up and lo.

-- Calls are numbered alike in the template and in the arms of a union.

select concat(upper(up(p)), up(q)) as a from t union all select concat(upper(up(q)), up(p)) from t

select concat(up(p), concat(upper(up(q)), lo(n))) as a from t union select concat(up(q), concat(upper(up(p)), lo(q))) from t

-- Lists of columns behind an alias.

with c as (select g, id, up(p) as a from t) select x.id, x.a from c as x(id, g, a) where id = 1

with c(x, y) as (select up(p), id from t) select y, x from c where y > 2

with c as (select g, id, up(p) as a from t) select x.g, y.a from c as x(id, g, a) join c as y on x.g = y.id where x.id = 1 and y.g = 1

select up(q) as a from t as x(id, g, q, p, n)

select up(p), `gpt-4o`(p) from (select up(q), id from t) as x(p, q) where q > 2 order by q limit 2

-- A CTE hides a table.

with c as (select id, p from t), t as (select id, k as g, p from s) select up(c.p) as a from c join t on c.id = t.id

with c as (select id, up(p) as a from t), t as (select k as id, p from s) select c.a, t.p from c join t on c.id = t.id

select * from (with t as (select id, up(p) as a from s) select id, a from t where id < 5) as x join t on x.id = t.id

with t as (select id, up(p) as p from t) select p from t where id < 3

-- A name that a column of the table below would capture.

select a as n, upper(n) as b from (select up(p) as a from t) as x

select s.p, exists (select 1 from (select id, up(p) as a from t) as x where x.id = k) as e from s

select a as g, count(*) as c from (select up(p) as a, id from t) as x group by a having count(*) > 1

select x.a, k as n, n + 1 as m from (select id, up(p) as a from t) as x join s on x.id = s.id

-- Stars.

select * except (id), up(p) as a from t order by g, id limit 3

select x.* except (n), s.* except (id), up(x.p) as a from t as x join s on x.id = s.id

select *, *, up(p) as a from t

-- A constant is not a place in the list.

select a, id from (select 2 as c, up(p) as a, id from t) as x order by c, id desc limit 3

-- The right side of a semi join is not seen outside of it; an alias of an arm is not seen after a union.

select x.a as b, upper(b) as d from (select up(p) as a, id from t) as x left semi join (select id as b from s) as z on x.id = z.b

select lo(q) as p, p as d from r union all select lo(p) as p, n as d from t

with c as (select x.id, y.id as j from t as x join t as y on lo(x.p) = lo(y.p)) select up(p) as a, j from c join t on c.id = t.id

-- EXCEPT and INTERSECT of the same rows, and of rows that only look alike.

select id, up(p) as a, n from t where g < 2 except select id, up(p), n from t where n > 'n0'

select g, up(p) as a from t where id < 7 except select g, up(p) from t where id > 2

select g, up(n) as a from t except select g, up(n) from t where up(n) = 'Un1' intersect select g, up(n) from t where g > 0

select id as g, up(p) as b, g as a from t except select id, up(p), g from t where g > 0 order by b limit 3

-- Fields that are named by columns.

select g, up(cast(to_json(struct(g, count(*) as c)) as string)) as a from t group by g

select up(cast(to_json(struct(x.p, s.k)) as string)) as a from t as x join s on x.id = s.id

-- ORDER BY means a column that a star shows, not the one of that name below.

select * from (select id, up(p) as p from t) as x order by p limit 3

select x.*, 1 as z from (select id, up(p) as p, g from t) as x order by g desc, p limit 4

with d(q) as (select up(q) is not null as d from r as s) select *, lo('w') as e from d as r order by e, q

select * from (select g as id, up(p) as p, id as g from t) as x order by id, g, p limit 5

select id, q as p from (select id, q, up(p) as a from t) as x order by x.a, id limit 3

select id, p from (select id, p, up(p) as a from t) as x order by x.a desc, x.id limit 3
