select 1 as a as t;
select ';' as s, "--" as d, '/*' as c, `a;b` from x -- ; not the end
 as t2;
with a as (select 1 as n), b as (select n + 1 as n from a)
select * from a union all select * from b as ab;
(select 1 as n) union (select 2 as n) as both;
select /*+ broadcast(t) */ cast(a as int) from t as t_${n}_x;
select cast(a as string) from t;
select * from t
;
select '''it's; "x"''' as q as q1;
select 'it''s' as q, '''' as quote as q2;
SELECT a.b FROM a AS `out`;
select r'a\' as b, R"c:\" as d, 'it\'s' as e as raw;
