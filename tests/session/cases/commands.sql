-- case: the tables
select 1 as a as people;
!show tables;
!lastCommand named tables;
select tableName, isTemporary, cached, columns, namespace from tables where tableName = 'people' as t;
-- rows:
-- [{"tableName": "people", "isTemporary": true, "cached": false, "columns": "a int", "namespace": ""}]

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
-- [{"key": "llm.in_flight", "value": "16"}, {"key": "spark.sql.shuffle.partitions", "value": "x"}]

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

-- case: a command that removes files
!hdfs -rmr "${data}/people.csv";
-- error:
-- !hdfs -rmr removes files, so it is off
-- --set allow.shell=true
-- <script>:1:7

-- case: files are copied, joined, counted and removed
-- with: allow.shell=true
select 'a' as value union all select 'b' as t;
save overwrite t as text.`${out}/text` where fileNum="2";
!hdfs -mkdir "${out}/new";
!hdfs -cp "${out}/text" "${out}/new";
!hdfs -getmerge "${out}/new/text" "${out}/all.txt";
!hdfs -cat "${out}/all.txt"; !lastCommand named lines;
!hdfs -mv "${out}/all.txt" "${out}/new/all.txt";
!fs -rmr "${out}/new/text";
!fs -count "${out}/new"; !lastCommand named counted;
select folders, files, bytes, (select sort_array(collect_list(value)) from lines) as lines from counted as u;
-- rows:
-- [{"folders": 1, "files": 1, "bytes": 4, "lines": ["a", "b"]}]

-- case: an action on files that is not there
!hdfs -lss /tmp;
-- error:
-- !hdfs does not know -lss
-- Did you mean -ls?
-- <script>:1:7

-- case: a copy without a target
!hdfs -cp /tmp/a;
-- error:
-- Write !hdfs -cp /a/source /a/target;

-- case: files outside
-- with: allow.shell=true
-- with: allow.folders=/nowhere
!hdfs -cat /etc/hostname;
-- error:
-- /etc/hostname lies outside the folders that scripts may use

-- case: the one cell of a table as a file
select cast('bytes' as binary) as content as t;
!saveFile _ -i t -o "${out}/cell.bin";
!hdfs -cat "${out}/cell.bin";
-- rows:
-- [{"value": "bytes"}]

-- case: two cells are not a file
select 'a' as a, 'b' as b as t;
!saveFile _ -i t -o "${out}/cell.bin";
-- error:
-- t is more or less than one cell of bytes

-- case: what is set up for Python sets up deployments
!python conf "num_gpus=0"; !python conf "schema=st(field(a,long))"; !python env "PYTHON_ENV=:";
-- printed:
-- note: !python env PYTHON_ENV has no effect here: Python runs in the environment of sqlllm

-- case: Python code of a file over the shards of a table
-- with: allow.python=true
select "context.build_result([{'n': 1 + len(list(ray_context.collect()))}])" as c as code;
!saveFile _ -i code -o "${out}/count.py";
select id from range(3) as t;
!pyInclude local '${out}/count.py' named counting;
!ray on t py.counting named u;
select n from u as v;
-- rows:
-- [{"n": 4}]

-- case: Python code is off until it is allowed
!python on "x";
-- error:
-- !python on runs code of the script, so it is off
-- allow.python

-- case: a command of the shell
-- with: allow.shell=true
!sh echo "a b" c;
-- rows:
-- [{"value": "a b c"}]

-- case: a group of jobs that does not run is not an error
!kill nobodys_group;
select 1 as a as t;
-- rows:
-- [{"a": 1}]

-- case: a script of the shell, whose variables are its own
-- with: allow.shell=true
set name = "sqlllm";
!sh script '''
name="${1-bash}"  # the first argument, or bash
echo "${name} it's"
''';
-- rows:
-- [{"value": "bash it's"}]

-- case: a command of the shell that fails
-- with: allow.shell=true
!sh ls /no/such/folder;
-- error:
-- ls /no/such/folder ended with 2

-- case: no command of the shell without leave
!sh echo "yes";
-- error:
-- !sh runs commands on the driver, so it is off

-- case: a module of Byzer-SQL that is not here
run command as EmptyTableWithSchema.`` where schema="st(field(a,integer))" as t;
-- error:
-- <script>:1:16
-- module EmptyTableWithSchema is not here: a select does it
-- Write select cast(null as int) as a where false as t;

-- case: a command of Byzer-SQL that has no meaning here
!scheduler list;
-- error:
-- !scheduler is not here: a script does not schedule scripts

-- case: rows that break a rule
select * from values (1, 'x', null), (1, 'y', 2), (2, 'y', 2) as t(a, b, c) as t;
!assertNotNull t "a,c"; !lastCommand named nulls;
!assertUniqueKey t "a,b"; !lastCommand named keys;
!assertUniqueKeys t "b,c"; !lastCommand named pairs;
!assertCondition t ":a < 2"; !lastCommand named others;
select (select count(*) from nulls) as nulls, (select collect_list(column) from keys) as keys,
(select max(count) from pairs) as pairs, (select max(a) from others) as others as u;
-- rows:
-- [{"nulls": 1, "keys": ["a", "b"], "pairs": 2, "others": 2}]

-- case: rows that break no rule stop nothing
select 1 as a as t;
!assertNotNullThrow t "a"; !assertUniqueKeyThrow t "a"; !assertUniqueKeysThrow t "a"; !assertConditionThrow t "a > 0";
select * from t as u;
-- rows:
-- [{"a": 1}]

-- case: rows that break a rule stop the script
select * from values (1), (1), (null) as t(a) as t;
!assertUniqueKeysThrow t "a";
-- error:
-- t breaks !assertUniqueKeysThrow a
-- 1 of 3 rows, the first: {'a': 1, 'count': 2}

-- case: a rule for a column that is not there
select 1 as age as t;
!assertNotNull t "agee";
-- error:
-- there is no column agee
-- Did you mean age?
-- <script>:2:18

-- case: a variable that must be set
set a = "1";
!assert a in __set__ "a is missing";
!assert b in __set__ "b is missing, write set b=...";
-- error:
-- b is missing, write set b=...
-- <script>:3:1

-- case: tables of a database, a function, the options of a module and of a format
!show tables from default; !lastCommand named a;
!show function/split; !lastCommand named b;
!show et/params/RateSampler; !lastCommand named c;
!show "et/RateSampler"; !lastCommand named d;
!show "datasources/params/csv"; !lastCommand named e;
!show resource; !lastCommand named f;
!show "jobs/no-such-group"; !lastCommand named g;
load modelParams.`RateSampler` as h;
load modelExample.`RateSampler` as i;
select (select count(*) > 0 from b) as b, (select count(*) from c) as c, (select doc like '%__split__%' from d) as d,
(select count_if(param = 'skipFirstNLines') from e) as e, (select cores > 0 from f) as f, (select count(*) from g) as g,
(select count(*) from h) as h, (select count(*) from i) as i as t;
-- rows:
-- [{"b": true, "c": 3, "d": true, "e": 1, "f": true, "g": 0, "h": 3, "i": 1}]

-- case: a module that is not there is not shown
!show et/RateSampeler;
-- error:
-- unknown module RateSampeler
-- Did you mean RateSampler?

-- case: what a session does not have
!show "api/list";
-- error:
-- A session has no HTTP interface

-- case: the columns as JSON
select 1 as a as t;
!desc t json;
!lastCommand named u;
select schema like '%"name":"a"%' as named from u as v;
-- rows:
-- [{"named": true}]

-- case: Spark's settings, by Byzer's word
!profiler conf;
!lastCommand named t;
select count_if(key = 'spark.app.name') as n from t as u;
-- rows:
-- [{"n": 1}]

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

-- case: a wrong number of lines
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

-- case: a variable as a script
set code = '''select 1 as a as t; select a + 1 as a from t as u''';
!eval code;
-- rows:
-- [{"a": 2}]

-- case: no variable as a script
!eval kode;
-- error:
-- there is no variable kode
-- <script>:1:7

-- case: a table as one CSV file
select id, array('a', 'b"') as b, if(id = 1, null, 'x,y') as c from range(2) as t;
!export t "${out}/t.csv";
!lastCommand named told;
load csv.`${out}/t.csv` where header="true" and escape='"' as back;
select (select rows from told) as told, id, b, c from back order by id as u;
-- rows:
-- [{"told": 2, "id": "0", "b": "[\"a\", \"b\\\"\"]", "c": "x,y"}, {"told": 2, "id": "1", "b": "[\"a\", \"b\\\"\"]", "c": null}]

-- case: the last table as one Parquet file, in order, and again in its place
select id, date'2026-01-02' as day from range(5) order by id desc as t;
!export "${out}/t.parquet";
select id + 1 as id, day from t order by id desc as u;
!export "${out}/t.parquet";
load parquet.`${out}/t.parquet` as back;
select collect_list(id) as ids, min(cast(day as string)) as day from back as v;
-- rows:
-- [{"ids": [5, 4, 3, 2, 1], "day": "2026-01-02"}]

-- case: a table as JSON lines
select id, named_struct('a', id) as s from range(2) as t;
!export t "${out}/t.json";
load json.`${out}/t.json` as back;
select id, s.a as a from back order by id as u;
-- rows:
-- [{"id": 0, "a": 0}, {"id": 1, "a": 1}]

-- case: a file of no known kind
select 1 as a as t;
!export t "${out}/t.xls";
-- error:
-- does not end as a file of a table does
-- Known endings: .csv, .json, .jsonl, .parquet.

-- case: a file elsewhere
select 1 as a as t;
!export t "/etc/t.csv";
-- error:
-- lies outside the folders

-- case: the last table before there is one
!export "${out}/t.csv";
-- error:
-- no statement has given a table yet
-- Write !export my_table "file.csv";
