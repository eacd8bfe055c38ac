-- case: partitions by number
select id from range(100) as t;
run t as TableRepartition.`` where partitionNum="5" as u;
select count(distinct p) as n from (select spark_partition_id() as p from u) as v;
-- rows:
-- [{"n": 5}]

-- case: partitions by a column
select id % 3 as k from range(100) as t;
train t into TableRepartition.`` where partitionNum="4" and partitionCols="k" as u;
select max(n) as n from (select count(distinct p) as n from (select k, spark_partition_id() as p from u) group by k) as v;
-- rows:
-- [{"n": 1}]

-- case: partitions by range, and fewer without a shuffle
select id from range(100) as t;
run t as TableRepartition.`` where partitionNum="4" and partitionType="range" and partitionCols="id" as u;
run u as TableRepartition.`` where partitionNum="1" and shuffle="false" as v;
select count(distinct p) as n, count(*) as rows from (select spark_partition_id() as p from v) as w;
-- rows:
-- [{"n": 1, "rows": 100}]

-- case: a range needs columns
select id from range(100) as t;
run t as TableRepartition.`` where partitionNum="4" and partitionType="range" as u;
-- error:
-- partitionType range needs columns
-- <script>:2:57

-- case: an unknown option
select id from range(100) as t;
run t as TableRepartition.`` where partitonNum="4" as u;
-- error:
-- unknown option partitonNum
-- Did you mean partitionNum?
-- <script>:2:36

-- case: a missing option
run command as TableRepartition.`` as u;
-- error:
-- TableRepartition needs partitionNum

-- case: an empty table keeps its columns
select 1 as a, 'x' as b as t;
run t as EmptyTable.`` as u;
select count(*) as n, count(a) as a from u as v;
-- rows:
-- [{"n": 0, "a": 0}]

-- case: command is one row
run command as TableRepartition.`` where partitionNum="1" as u;
select count(*) as n from u as v;
-- rows:
-- [{"n": 1}]

-- case: an input that is not there
run peple as EmptyTable.`` as u;
-- error:
-- there is no table peple
-- <script>:1:5

-- case: clusters without names ask no model
select * from values ('parcel late'), ('parcel very late'), ('battery dead'), ('battery is dead'), (null) as v(text) as t;
run t as Cluster.`` where column="text" and k="2" and names="false" as u;
select cluster, label, count(*) as n from u group by all order by cluster;
-- rows:
-- [{"cluster": null, "label": null, "n": 1}, {"cluster": 1, "label": null, "n": 2}, {"cluster": 2, "label": null, "n": 2}]

-- case: a column that Dedup's prompt does not have
select 'Acme' as name as t;
run t as Dedup.`` where prompt="{name} is the same company as {other.nam}" as u;
-- error:
-- there is no column nam
-- Did you mean name?
-- <script>:2:25
