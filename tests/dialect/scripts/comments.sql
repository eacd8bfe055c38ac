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
