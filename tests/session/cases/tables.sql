-- case: JSON texts become columns, in their place
select 1 as id, '{"name": "Al", "at": {"city": "Oslo"}}' as doc, 'x' as last union all select 2, '{"age": 3}', 'y' as t;
run t as JsonExpandExt.`` where inputCol="doc" and samplingRatio="1.0" as u;
run u as JsonExpandExt.`` where inputCol="at" as v;
select * from v order by id as w;
-- rows:
-- [{"id": 1, "age": null, "city": "Oslo", "name": "Al", "last": "x"}, {"id": 2, "age": 3, "city": null, "name": null, "last": "y"}]

-- case: JSON texts become a struct
select '{"it''s": [1, 2]}' as `a doc` as t;
run t as JsonExpandExt.`` where inputCol="a doc" and structColumn="true" as u;
select `a doc`.`it's`[1] as n from u as v;
-- rows:
-- [{"n": 2}]

-- case: a text that is not JSON
select '{"a": 1}' as doc union all select '{"key","value"}' as t;
run t as JsonExpandExt.`` where inputCol="doc" as u;
-- error:
-- a text in doc is not JSON: {"key","value"}
-- <script>:2:1

-- case: a column that is not there
select 1 as doc as t;
run t as JsonExpandExt.`` where inputCol="dok" as u;
-- error:
-- there is no column dok
-- Did you mean doc?
-- <script>:2:33

-- case: a column of numbers is not JSON
select 1 as doc as t;
run t as JsonExpandExt.`` where inputCol="doc" as u;
-- error:
-- doc holds neither texts nor structs: it is int

-- case: the tables that a query reads
run command as SyntaxAnalyzeExt.`` where action="extractTables" and sql='''
with own as (select * from db.a) select * from (select * from own) as x join `b c` as y on x.id = y.id;
''' as found;
select * from found order by tableName as t;
-- rows:
-- [{"tableName": "b c"}, {"tableName": "db.a"}]

-- case: a query that cannot be read
run command as SyntaxAnalyzeExt.`` where sql="select from from" as found;
-- error:
-- the query cannot be read
-- <script>:1:42

-- case: a table split in parts of each label, counted
select id % 2 as label, id from range(20) as t;
train t as RateSampler.`/unused` where labelCol="label" and sampleRate="0.7,0.2,0.1" and isSplitWithSubLabel="true" as u;
select label, __split__ as part, count(*) as n from u group by all order by label, part as v;
-- rows:
-- [{"label": 0, "part": 0, "n": 7}, {"label": 0, "part": 1, "n": 2}, {"label": 0, "part": 2, "n": 1}, {"label": 1, "part": 0, "n": 7}, {"label": 1, "part": 1, "n": 2}, {"label": 1, "part": 2, "n": 1}]

-- case: a table split by drawing is split the same way again
select id as label from range(1000) as t;
run t as RateSampler.`` where sampleRate="0.5,0.5" as u;
select count_if(__split__ = 0) between 400 and 600 as half, (select collect_set(__split__) from u) = array(0, 1) as parts from u as v;
-- rows:
-- [{"half": true, "parts": true}]

-- case: shares that make no whole
run command as RateSampler.`` where sampleRate="0.7,0.7" as u;
-- error:
-- sampleRate is a row of shares with the sum 1
-- <script>:1:37

-- case: a made-up table
run command as SampleDatasetExt.`` where columns="k,v,l" and size="50" and featuresSize="3" and labelSize="2" as t;
select count(distinct k) as n, max(size(v)) as width, max(l) as l from t as u;
-- rows:
-- [{"n": 50, "width": 3, "l": 1}]

-- case: rows numbered
select * from values ('a'), ('b'), ('c') as t(x) as t;
run t as UniqueIdentifier.`` as u;
run u as UniqueIdentifier.`` where source="replace" and columnName="x" as v;
select min(Unique_ID) as first, max(Unique_ID) as last, sum(x) as total from v as w;
-- rows:
-- [{"first": 1, "last": 3, "total": 6}]

-- case: a number's column that is there
select 1 as n as t;
run t as UniqueIdentifier.`` where columnName="n" as u;
-- error:
-- there is a column n already
-- Add source="replace".

-- case: rows to columns and back
select * from values ('Al', 'math', 1), ('Al', 'art', 2), ('Bo', 'art', 3) as t(name, subject, score) as t;
run t as DataTranspose.`` where method="pivot" and indexCols="name" and inputCol="subject" and aggCol="score" as wide;
run wide as DataTranspose.`` where method="unpivot" and indexCols="name" and unPivotCols="math,art" and mergedCol="subject" and aggCol="score" as long;
select * from long where score is not null order by name, subject as u;
-- rows:
-- [{"name": "Al", "subject": "art", "score": 2}, {"name": "Al", "subject": "math", "score": 1}, {"name": "Bo", "subject": "art", "score": 3}]

-- case: who stands below whom
select * from values (1, null), (2, 1), (3, 2), (9, 9) as t(id, above) as t;
run t as TreeBuildExt.`` where idCol="id" and parentIdCol="above" and treeType="nodeTreePerRow" as tree;
select * from tree order by id as u;
-- rows:
-- [{"id": 1, "level": 2, "children": [2, 3]}, {"id": 2, "level": 1, "children": [3]}, {"id": 3, "level": 0, "children": []}]

-- case: one tree a row
select 1 as id, 0 as above as t;
run t as TreeBuildExt.`` where idCol="id" and parentIdCol="above" and treeType="treePerRow" as tree;
-- error:
-- Write treeType="nodeTreePerRow"

-- case: figures of each column
select * from values ('x', 1), ('', 3), (null, 5), ('x', 7) as t(`a b`, n) as t;
run t as DataSummary.`` where metrics="mean, 25%,nonNullCount,nullValueRatio,blankValueRatio,mode" and roundAt="1" as s;
-- rows:
-- [{"columnName": "a b", "ordinalPosition": 1, "%25": null, "blankValueRatio": 0.25, "mean": null, "nonNullCount": 3, "nullValueRatio": 0.25, "mode": "x"}, {"columnName": "n", "ordinalPosition": 2, "%25": 2.5, "blankValueRatio": 0.0, "mean": 4.0, "nonNullCount": 4, "nullValueRatio": 0.0, "mode": "1"}]

-- case: the columns of figures
select 'abc' as t, 1L as n, 1.50 as d, true as b, date'2026-01-02' as day as t;
run t as DataSummary.`` as s;
!desc s;
!lastCommand named columns;
select concat_ws(',', collect_list(col_name)) as names from columns as u;
-- rows:
-- [{"names": "columnName,ordinalPosition,median,blankValueRatio,dataLength,dataType,max,maximumLength,mean,min,minimumLength,nonNullCount,nullValueRatio,totalCount,standardDeviation,standardError,uniqueValueRatio,primaryKeyCandidate,mode"}]

-- case: types and their sizes
select 'abc' as t, 1L as n, 1.50 as d, true as b, date'2026-01-02' as day as t;
run t as DataSummary.`` where metrics="dataType,dataLength,maximumLength" as s;
select concat_ws(' ', columnName, dataType, dataLength, maximumLength) as line from s order by ordinalPosition as u;
-- rows:
-- [{"line": "t string 3 3"}, {"line": "n long 8"}, {"line": "d decimal(3,2) 16"}, {"line": "b boolean 1"}, {"line": "day date 8"}]

-- case: an unknown figure
run command as DataSummary.`` where metrics="meen" as s;
-- error:
-- unknown figure meen
-- Did you mean mean?

-- case: how often each value is there
select * from values ('x', 1), ('x', 2), (null, 2) as t(a, n) as t;
run t as DescriptiveMetrics.`` where metricSize="1" as s;
-- rows:
-- [{"columnName": "a", "descriptiveMetrics": "[{\"x\": 2}]"}, {"columnName": "n", "descriptiveMetrics": "[{\"2\": 2}]"}]

-- case: options behind the output
select 1 as a union all select 2 as t;
run t as DescriptiveMetrics.`` as s where metricSize="1";
select count(*) as n from s as u;
-- rows:
-- [{"n": 1}]

-- case: a table cached by a module
select uuid() as id as t;
run t as CacheExt.`` where execute="cache" and lifeTime="script" and isEager="true";
select (select id from t) = (select id from t) as same as u;
run t as CacheExt.`` where execute="uncache";
select same from u as v;
-- rows:
-- [{"same": true}]

-- case: a database's own statements
connect jdbc where url="jdbc:derby:memory:ddl;create=true" and driver="org.apache.derby.jdbc.EmbeddedDriver" as derby;
run command as JDBC.`derby._` where `driver-statement-0`="create table people (name varchar(20), age int);"
and `driver-statement-1`="insert into people values ('Al', 20), ('Bo', 41)";
run command as JDBC.`derby._` where sqlMode="query" and `driver-statement-query`="select name, age from people where age > 30;" as old;
load jdbc.`derby.people` where directQuery="select count(*) as n from people" as counted;
select NAME as name, AGE as age, (select N from counted) as n from old as u;
-- rows:
-- [{"name": "Bo", "age": "41", "n": 2}]

-- case: a statement that the database refuses
run command as JDBC.`derby._` where url="jdbc:derby:memory:ddl2;create=true" and `driver-statement-0`="drop table nothing";
-- error:
-- NOTHING
-- <script>:1:1

-- case: a database without an address
run command as JDBC.`derbi._` where `driver-statement-0`="select 1";
-- error:
-- JDBC needs url
