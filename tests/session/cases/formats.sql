-- case: the text of a variable as JSON
set rows = '''
{"a": 1, "b": "x;y"}
{"a": 2, "b": "--"}
''';
load jsonStr.`rows` as t;
select * from t order by a as u;
-- rows:
-- [{"a": 1, "b": "x;y"}, {"a": 2, "b": "--"}]

-- case: one JSON text of several lines
set rows = '''
{"a": 1,
 "b": 2}
''';
load jsonStr.`rows` where multiLine="true" as t;
-- rows:
-- [{"a": 1, "b": 2}]

-- case: the text of a variable as CSV
set rows = '''
name,age
"Al, junior",20
''';
load csvStr.`rows` where header="true" and inferSchema="true" as t;
-- rows:
-- [{"name": "Al, junior", "age": 20}]

-- case: the text of a variable as a row
set text = '''select 1;
-- 2''';
load script.`text` as t;
-- rows:
-- [{"content": "select 1;\n-- 2"}]

-- case: a text that is not a variable
load jsonStr.`rows` as t;
-- error:
-- there is no variable rows
-- <script>:1:14

-- case: text files, whole and by line, with the file they are from
select 'a\nb' as value as t;
save overwrite t as text.`${out}/lines`;
load text.`${out}/lines` as lines;
load text.`${out}/lines,${data}/people.csv` where wholetext="true" as whole;
select count(*) as files, count_if(file like 'file:%') as named, (select count(*) from lines) as lines from whole as u;
-- rows:
-- [{"files": 2, "named": 2, "lines": 2}]

-- case: binary files
load binaryFile.`${data}/people.csv` as t;
select length, right(path, 10) as name from t as u;
-- rows:
-- [{"length": 26, "name": "people.csv"}]

-- case: a format of Spark in any case, and xml
load json.`${data}/people.json` as people;
save overwrite people as XML.`${out}/x` where rowTag="person";
load xml.`${out}/x` where rowTag="person" as again;
select sum(age) as years from again as u;
-- rows:
-- [{"years": 112}]

-- case: save appends, ignores, and refuses
select 1 as a as t;
save t as parquet.`${out}/p`;
save append t as parquet.`${out}/p`;
save ignore t as parquet.`${out}/p`;
load parquet.`${out}/p` as u;
select count(*) as n from u as v;
-- rows:
-- [{"n": 2}]

-- case: save refuses to overwrite unless overwrite is written
select 1 as a as t;
save t as parquet.`${out}/p`;
save t as parquet.`${out}/p`;
-- error:
-- <script>:3:19
-- already exists

-- case: the number of files
select id from range(10) as t;
save overwrite t as json.`${out}/j` where fileNum="3";
load text.`${out}/j` as u;
select count(distinct file) as files from u as v;
-- rows:
-- [{"files": 3}]

-- case: a wrong number of files
select id from range(10) as t;
save overwrite t as json.`${out}/j` where fileNum="three";
-- error:
-- fileNum is a number from 1, not 'three'
-- <script>:2:43

-- case: a table of Spark's catalogue
create table by_hand (a int) using parquet location '${out}/by_hand';
insert into by_hand select 4 as a;
refresh table by_hand;
load hive.`by_hand` as t;
select a + 1 as a from t as u;
save append u as hive.`by_hand`;
select sum(a) as a from by_hand as v;
set a = "select a from v" where type="sql";
drop table by_hand;
select ${a} as a as w;
-- rows:
-- [{"a": 9}]

-- case: a table that was dropped
create or replace temporary view short as select 1 as a;
drop view short;
select * from short as t;
-- error:
-- there is no table short
-- <script>:3:15

-- case: a model is not a table
load model.`/models/x` as m;
-- error:
-- a model is not a table here
-- action="infer"
-- <script>:1:12

-- case: a misspelt format
load jsn.`x` as t;
-- error:
-- unknown format jsn
-- Did you mean json?
-- <script>:1:6

-- case: a format that is not in Spark itself
load delta.`${data}/d` as t;
-- error:
-- delta is not a part of Spark itself
-- --set spark.packages=io.delta:delta-spark_

-- case: another one
load avro.`${data}/d` as t;
-- error:
-- avro is not a part of Spark itself
-- spark-avro_2.13:

-- case: a path among the options
load csv.`` where path="/etc/passwd" as t;
-- error:
-- path is not an option
-- <script>:1:19

-- case: a format that can only be loaded
select 1 as a as t; save overwrite t as jsonStr.`x`;
-- error:
-- jsonStr can only be loaded

-- case: the runs, of which there are none
load llm.`runs` as runs;
select name, state, loss, reason from runs as t;
-- rows:
-- []

-- case: the models, without starting Ray
load llm.`models` as models;
-- rows:
-- []

-- case: a table that llm does not have
load llm.`model` as models;
-- error:
-- llm has no table model
-- Did you mean models?
-- <script>:1:10

-- case: lines before the columns are left out, of a text and of each file
set rows = '''
made by hand
a,b
1,x
''';
load csvStr.`rows` where header="true" and skipFirstNLines="1" as t;
load script.`rows` as lines;
select trim(both '\n' from content) as value from lines as lines;
save overwrite lines as text.`${out}/one`;
save append lines as text.`${out}/one`;
load csv.`${out}/one` where header="true" and skipFirstNLines="1" and inferSchema="true" as u;
select sum(a) as a, max(b) as b, (select b from t) as c from u as v;
-- rows:
-- [{"a": 2, "b": "x", "c": "x"}]

-- case: lines after the rows are left out
set rows = '''
a,b
1,x
2,y
total
3
''';
load csvStr.`rows` where header="true" and skipLastNLines="2" as t;
load script.`rows` as lines;
select trim(both '\n' from content) as value from lines as lines;
save overwrite lines as text.`${out}/tail`;
load csv.`${out}/tail` where header="true" and skipLastNLines="3" as u;
select (select count(*) from t) as t, (select max(b) from u) as u as v;
-- rows:
-- [{"t": 2, "u": "x"}]

-- case: lines to leave out are a number
load csv.`${data}/people.csv` where skipFirstNLines="two" as t;
-- error:
-- skipFirstNLines is a whole number, not two

-- case: a partition of a database's table for each condition
connect jdbc where url="jdbc:derby:memory:parts;create=true" and driver="org.apache.derby.jdbc.EmbeddedDriver" as derby;
select id from range(10) as t;
save append t as jdbc.`derby.numbers`;
load jdbc.`derby.numbers` where prePtnArray='''"id" >= 5 | "id" < 5''' and prePtnDelimiter="\|" as u;
select count(distinct part) as parts, count(*) as n from (select spark_partition_id() as part from u) as v;
-- rows:
-- [{"parts": 2, "n": 10}]

-- case: a format by its class
load unknown.`${data}/people.json` where implClass="org.apache.spark.sql.execution.datasources.v2.json.JsonDataSourceV2" as t;
select count(*) as n from t as u;
-- rows:
-- [{"n": 3}]

-- case: a misspelt option
load csv.`${data}/people.csv` where heder="true" as t;
-- error:
-- csv has no option heder
-- Did you mean header?
-- <script>:1:37

-- case: a misspelt option of save
select 1 as a as t;
save overwrite t as parquet.`${out}/p` where compresion="gzip";
-- error:
-- parquet has no option compresion
-- Did you mean compression?

-- case: an option in other letters
load csv.`${data}/people.csv` where HEADER="true" and INFERschema="true" as t;
select sum(age) as n from t as u;
-- rows:
-- [{"n": 112}]

-- case: a format of other engines
load hbase.`t` where zk="x" as t;
-- error:
-- format hbase is not here
-- <script>:1:6

-- case: a format whose connector has another name
load mongo.`db/t` as t;
-- error:
-- format mongo is not here
-- org.mongodb.spark:mongo-spark-connector

-- case: a stream of Byzer's as a table
set sent = '''
{"key": "yes", "value": "no", "topic": "test", "offset": 0, "timestamp": "2008-01-24 18:01:01.001"}
{"key": "yes", "value": "no", "topic": "test", "offset": 1, "timestamp": "2008-01-24 18:01:01.002"}
''';
load jsonStr.`sent` as datasource;
load mockStream.`datasource` options stepSizeRange="0-3" as stream;
select cast(key as string) as k, count(*) as c, typeof(key) as kind from stream group by key as counted;
save append counted as console.`` options mode="Complete" and duration="10" and checkpointLocation="/tmp/cpl3";
-- printed:
-- note: mockStream is a table here: every row is there at once
-- {'k': 'yes', 'c': 2, 'kind': 'binary'}

-- case: rows of a clock
load rate.`` where rowsPerSecond="4" and seconds="5" as t;
select count(*) as n, max(value) as last, max(timestamp) <= now() as past, bround(double(max(timestamp)) - double(min(timestamp)), 2) as span from t as u;
-- rows:
-- [{"n": 20, "last": 19, "past": true, "span": 4.75}]

-- case: another format of Byzer's
load FS.`a` as t;
-- error:
-- format FS is not here: a format is named
-- Write the format of the files
