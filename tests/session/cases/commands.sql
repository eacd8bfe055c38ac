-- case: the tables
select 1 as a as people;
!show tables;
!lastCommand named tables;
select tableName, isTemporary from tables where tableName = 'people' as t;
-- rows:
-- [{"tableName": "people", "isTemporary": true}]

-- case: functions, commands, modules and formats
!show functions; !lastCommand named a;
!show commands; !lastCommand named b;
!show et; !lastCommand named c;
!show datasources; !lastCommand named d;
select (select count_if(function = 'llm_prompt') from a) as a, (select count_if(name = 'byzerllm') from b) as b,
(select count_if(name in ('LLM', 'TableRepartition')) from c) as c, (select count_if(name = 'jsonStr') from d) as d as t;
-- rows:
-- [{"a": 1, "b": 1, "c": 2, "d": 1}]

-- case: versions
!show version; !lastCommand named v;
select sqlllm = '' as none, spark > '4' as new from v as t;
-- rows:
-- [{"none": false, "new": true}]

-- case: one setting, of ours and of Spark
!show "conf/llm.in_flight"; !lastCommand named a;
!show "conf/spark.sql.shuffle.partitions"; !lastCommand named b;
select key, value from a union all select key, 'x' from b as t;
-- rows:
-- [{"key": "llm.in_flight", "value": "8"}, {"key": "spark.sql.shuffle.partitions", "value": "x"}]

-- case: a secret setting is not shown
-- with: serving.api_key=hunter2
!show "conf/serving.api_key";
-- rows:
-- [{"key": "serving.api_key", "value": "***"}]

-- case: all settings
!show "conf/list"; !lastCommand named a;
select count(*) > 20 as many from a as t;
-- rows:
-- [{"many": true}]

-- case: a setting that is not there
!show "conf/llm.in_fligt";
-- error:
-- there is no setting llm.in_fligt
-- Did you mean llm.in_flight?

-- case: no job runs
!show jobs;
-- rows:
-- []

-- case: the runs and the models
!show runs; !show models;
-- rows:
-- []

-- case: an unknown subject
!show tabels;
-- error:
-- !show does not know tabels
-- Did you mean tables?
-- <script>:1:7

-- case: nothing to show
!show;
-- error:
-- !show needs more
-- Write !show tables;

-- case: the columns of a table
select 1 as a, 'x' as b as t;
!desc t;
-- rows:
-- [{"col_name": "a", "data_type": "int"}, {"col_name": "b", "data_type": "string"}]

-- case: a table that is not there
select 1 as a as people;
!desc peple;
-- error:
-- there is no table peple
-- Did you mean people?
-- <script>:2:7

-- case: a cached table is computed once
select uuid() as id as t;
!cache t;
select count(distinct id) as n from (select id from t union all select id from t) as u;
-- rows:
-- [{"n": 1}]

-- case: uncache
select 1 as a as t; !cache t session; !unCache t; select a from t as u;
-- rows:
-- [{"a": 1}]

-- case: an unknown lifecycle
select 1 as a as t; !cache t forever;
-- error:
-- unknown lifecycle forever
-- Known lifecycles: script, session.
-- <script>:1:30

-- case: the name of the last table
select 1 as a as first;
!lastTableName;
select '${__last_table_name__}' as name as t;
-- rows:
-- [{"name": "first"}]

-- case: no last table
!lastTableName;
-- error:
-- no statement before this one gave a table
-- <script>:1:1

-- case: the first rows
select id from range(3) order by id as t;
!head t 2;
-- printed:
-- {'id': 0}
-- {'id': 1}

-- case: a wrong number of rows
select 1 as a as t; !head t two;
-- error:
-- !head does not know two
-- Write !head my_table 5;
-- <script>:1:29

-- case: an empty table
select 1 as a as t;
!emptyTable;
-- rows:
-- []

-- case: partitions
select id from range(100) as t;
!tableRepartition _ -i t -num 3 -o u;
select count(distinct p) as n from (select spark_partition_id() as p from u) as v;
-- rows:
-- [{"n": 3}]

-- case: partitions, misspelt
select id from range(100) as t;
!tableRepartition _ -i t -number 3 -o u;
-- error:
-- !tableRepartition does not know _ -i t -number 3 -o u
-- Write !tableRepartition _ -i my_table -num 4 -o other_table;

-- case: how long a query takes
!profiler sql '''select id from range(7)''';
!lastCommand named t;
select rows, seconds >= 0 as took from t as u;
-- rows:
-- [{"rows": 7, "took": true}]

-- case: the plan of a table
select id from range(7) where id > 3 as t;
!profiler explain t;
!lastCommand named p;
select plan like '%Filter%' as filters from p as u;
-- rows:
-- [{"filters": true}]

-- case: an error in a profiled query
!profiler sql '''select a from
nothing''';
-- error:
-- there is no table nothing
-- <script>:2:1

-- case: an assertion that holds
select 1 as a, 'ok' as status as t;
!assert t ''':status == "ok" and a == 1''' "every status is ok";
select 1 as a as u;
-- rows:
-- [{"a": 1}]

-- case: an assertion that does not
select explode(array('ok', 'bad', null)) as status as t;
!assert t ''':status == "ok"''' "every status is ok";
-- error:
-- every status is ok
-- <script>:2:1
-- 2 of 3 rows, the first: {'status': 'bad'}

-- case: an assertion with a mistake
select 1 as a as t;
!assert t ''':b == 1''';
-- error:
-- `b` cannot be resolved
-- <script>:2:11

-- case: files
!hdfs -ls "${data}";
!lastCommand named files;
select right(path, 10) as name, kind, bytes from files where path like '%csv' as t;
-- rows:
-- [{"name": "people.csv", "kind": "file", "bytes": 26}]

-- case: no folder
!fs -ls "${data}/nothing";
-- error:
-- there is no folder
-- <script>:1:9

-- case: a command of files that is not here
!hdfs -rm "${data}/people.csv";
-- error:
-- !hdfs -rm is not here
-- <script>:1:7

-- case: a command of Byzer-SQL that has no meaning here
!python conf "schema=st(field(a,long))";
-- error:
-- !python is not here
-- --%python

-- case: a setup of Byzer's bridge
!byzerllm setup "rayAddress=127.0.0.1:10001";
-- printed:
-- note: setup rayAddress has no effect here: there is no bridge and no worker pool to configure

-- case: no model is deployed
!byzerllm model list; !llm model exists "chat";
-- rows:
-- [{"value": false}]

-- case: a model to remove that is not there
!byzerllm model remove "chat";
-- error:
-- there is no model chat
-- None is deployed.

-- case: a command of models that is not there
!byzerllm modle list;
-- error:
-- !byzerllm does not know modle list
-- !byzerllm model list;

-- case: list, without starting Ray
run command as LLM.`` where action="list" as models;
-- rows:
-- []

-- case: the status of what is not there
run command as LLM.`` where action="status" and udfName="chat";
-- error:
-- there is no model chat
-- <script>:1:57

-- case: the logs of what is not there
run command as LLM.`` where action="logs" and udfName="chat" and lines="5";
-- error:
-- there is no model chat
-- <script>:1:55

-- case: a number of lines that is none
run command as LLM.`` where action="logs" and udfName="chat" and lines="all";
-- error:
-- lines is a number from 1, not 'all'
-- <script>:1:66

-- case: the status of all
run command as LLM.`` where action="status";
-- rows:
-- []

-- case: undeploy what is not there
run command as LLM.`` where action="undeploy" and udfName="chat";
-- error:
-- there is no model chat
-- <script>:1:59

-- case: undeploy nothing
run command as LLM.`` where action="undeploy";
-- error:
-- undeploy needs udfName
