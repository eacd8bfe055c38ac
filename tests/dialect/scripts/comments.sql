--%comparator=of.a.test
--%key=of another tool

-- first

/* a block
   of two lines */
load /* here */ csv.`a` -- format and path
where header="true" -- the header
/* between */ and sep="," -- last
as t; -- after
-- own line
select a, -- one
  b -- two
from t -- three
as u
-- before the end
;
!show /* x */ tables; /**/ select 1 as a as t;
-- the end

/* a /* nested; */ comment; */
select 1 /* a glob /data/* */ as b as t;
load csv.`a` /* one /* two */ three */ as t; -- /* no
load csv.`b` as u; /* never *closed /* but flat */
