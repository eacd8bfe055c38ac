-- case: a file outside the allowed folders
load text.`/etc/hostname` as t;
-- error:
-- /etc/hostname lies outside the folders that scripts may use
-- --set allow.folders=
-- <script>:1:11

-- case: a way out by dots
load text.`${data}/../../../../../../etc/hostname` as t;
-- error:
-- lies outside the folders

-- case: a way out by a pattern that spells dots
load text.`${data}/.{./../../../../etc/hostname,x}` as t;
-- error:
-- lies outside the folders

-- case: a way out by escaped dots
load text.`${data}/\.\./\.\./\.\./\.\./\.\./etc/hostname` as t;
-- error:
-- lies outside the folders

-- case: a pattern within the folders
load text.`${data}/p*.{csv,tsv}` as t;
select count(*) as n from t as u;
-- rows:
-- [{"n": 4}]

-- case: a URL of a file
load text.`file:///etc/hostname` as t;
-- error:
-- lies outside the folders

-- case: one of several paths
load text.`${data}/people.csv,/etc/hostname` as t;
-- error:
-- /etc/hostname lies outside the folders

-- case: a path behind a connection
connect text where wholetext="true" as disk;
load text.`disk./etc/hostname` as t;
-- error:
-- lies outside the folders

-- case: a path in a connection
connect text where path="/etc/hostname" as disk;
load text.`disk` as t;
-- error:
-- path is not an option

-- case: saving outside
select 1 as a as t; save overwrite t as json.`/opt/sqlllm-test`;
-- error:
-- /opt/sqlllm-test lies outside the folders
-- <script>:1:46

-- case: another set of folders
-- with: allow.folders=/etc
load text.`${data}/people.csv` as t;
-- error:
-- lies outside the folders that scripts may use (/etc)

-- case: every folder
-- with: allow.folders=/
load text.`/etc/hostname` as t;
select count(*) as n from t as u;
-- rows:
-- [{"n": 1}]

-- case: a file as a table of a select
select * from text.`/etc/hostname` as t;
-- error:
-- lies outside the folders
-- <script>:1:15

-- case: a file as a table, put there by a variable
set file = "/etc/hostname";
select * from text.`${file}` as t;
-- error:
-- lies outside the folders
-- <script>:2:15

-- case: a column of a table called text is not a file
select 'b' as `my col` as text;
select text.`my col` as c from text as t;
-- rows:
-- [{"c": "b"}]

-- case: a location
create table somewhere (a string) using text location '/etc/hostname';
-- error:
-- /etc/hostname lies outside the folders
-- <script>:1:55

-- case: a view over a file
create temporary view somewhere using text options (path '/etc/hostname');
-- error:
-- /etc/hostname lies outside the folders

-- case: a directory that is written
insert overwrite local directory '/opt/x' using csv select 1 as a;
-- error:
-- /opt/x lies outside the folders

-- case: a column called path is not a path
select '/etc/hostname' as path as t;
select path from t where path = '/etc/hostname' as u;
-- rows:
-- [{"path": "/etc/hostname"}]

-- case: a command in SQL
select transform(1) using 'cat' as t;
-- error:
-- transform ... using runs a command, so it is off
-- allow.shell
-- <script>:1:21

-- case: a method of the JVM
select reflect('java.lang.System', 'getenv', 'HOME') as a as t;
-- error:
-- reflect calls any method of the JVM, so it is off
-- <script>:1:8

-- case: the same in a variable
set a = "select java_method('java.lang.System', 'getenv', 'HOME')" where type="sql";
-- error:
-- java_method calls any method of the JVM, so it is off

-- case: a raw string is a path and a command, too
create table x (a string) using csv location r'/etc';
-- error:
-- /etc lies outside the folders
-- <script>:1:47

-- case: a command in a raw string
select transform(a) using R"cat" as (b string) from t as u;
-- error:
-- transform ... using runs a command

-- case: a jar
create temporary function f as 'x.Y' using jar '/tmp/x.jar';
-- error:
-- a function's class is code, so it is off
-- <script>:1:18

-- case: a script allows itself nothing
set allow.folders = "/";
-- error:
-- a script cannot set allow.folders

-- case: a listing outside
!fs -ls "/etc";
-- error:
-- /etc lies outside the folders

-- case: a setting of Spark that comes too late
select 1 as a as t;
set spark.packages = "a:b:1";
-- error:
-- Spark has started without this spark.packages

-- case: a jar for the whole session
add jar '/tmp/x.jar';
-- error:
-- a jar is code, so it is off
-- <script>:1:1

-- case: a file for the whole session
add file /etc/passwd;
-- error:
-- /etc/passwd lies outside the folders

-- case: a file read by a query that opens with from
from csv.`/etc/passwd` |> limit 1;
-- error:
-- /etc/passwd lies outside the folders
-- <script>:1:6

-- case: a file read by SQL in a text
execute immediate 'select * from csv.`/etc/passwd`';
-- error:
-- /etc/passwd lies outside the folders

-- case: SQL from a value
declare or replace variable query string default 'select 1 as a';
execute immediate query;
-- rows:
-- [{"a": 1}]

-- case: a format in backquotes
select * from `csv`.`/etc/passwd` as t;
-- error:
-- /etc/passwd lies outside the folders
-- <script>:1:15

-- case: a comment between format and path
select * from csv /* .x */ . /* y */ `/etc/passwd` as t;
-- error:
-- /etc/passwd lies outside the folders
-- <script>:1:15

-- case: nested comments between format and path
select * from csv /* a /* b */ c */ . `/etc/passwd` as t;
-- error:
-- /etc/passwd lies outside the folders

-- case: a line comment between format and path
select * from csv -- x
.`/etc/passwd` as t;
-- error:
-- /etc/passwd lies outside the folders

-- case: a directory that is written behind a with
with a as (select 1) insert overwrite directory '/opt/x' using csv select * from a;
-- error:
-- /opt/x lies outside the folders
-- <script>:1:49

-- case: a directory among the options
insert overwrite directory using csv options ('PATH' = '/opt/x') select 1;
-- error:
-- /opt/x lies outside the folders

-- case: a directory spelt with escapes
insert overwrite directory '${data}/\u002e\u002e/\u002e\u002e/\u002e\u002e/\u002e\u002e/x' using csv select 1;
-- error:
-- a path with a backslash or three quotes may lie outside the folders

-- case: a directory in two parts
insert overwrite directory '${data}' '/../../../../../opt/x' using csv select 1;
-- error:
-- outside the folders

-- case: a key of an option in two parts
create or replace temporary view v using csv options ('pa' 'th' '/etc/passwd');
-- error:
-- an option in several parts may lie outside the folders

-- case: a key of an option with an escape
create or replace temporary view v using csv options ('p\u0061th' '/etc/passwd');
-- error:
-- outside the folders

-- case: a path of an option that is computed
create or replace temporary view v using csv options (path = concat('/etc', '/passwd'));
-- error:
-- Syntax error

-- case: a format by its class
set kind = "org.apache.spark.sql.execution.datasources.csv.CSVFileFormat";
select * from `${kind}`.`/etc/passwd` as t;
-- error:
-- lies outside the folders

-- case: a file in a subquery of an expression
select (select max(_c0) from csv.`/etc/passwd`) as a as t;
-- error:
-- /etc/passwd lies outside the folders

-- case: a table of a file
table csv.`/etc/passwd`;
-- error:
-- /etc/passwd lies outside the folders

-- case: a file with a scheme
select * from csv.`file:/etc/passwd` as t;
-- error:
-- lies outside the folders

-- case: a file by dots
select * from csv.`${data}/../../../../../../etc/passwd` as t;
-- error:
-- lies outside the folders

-- case: options behind a relation
select * from csv.`${data}/people.csv` with (path = '/etc/passwd') as t;
-- error:
-- /etc/passwd lies outside the folders

-- case: identifier of a text
select * from identifier('csv.`/etc/passwd`') as t;
-- error:
-- /etc/passwd lies outside the folders

-- case: identifier of an expression
select * from identifier('csv.' || '`/etc/passwd`') as t;
-- error:
-- a name that is computed may lie outside

-- case: execute immediate of a variable
declare or replace way string = 'select * from csv.`/etc/passwd`';
execute immediate way;
-- error:
-- /etc/passwd lies outside the folders

-- case: execute immediate of an expression
execute immediate 'select * from ' || 'csv.`/etc/passwd`';
-- error:
-- a statement that is computed may lie outside

-- case: execute immediate of a method
execute immediate 'select reflect("java.lang.System", "getenv", "HOME")';
-- error:
-- reflect calls any method of the JVM

-- case: a variable's default
declare or replace way string = (select max(_c0) from csv.`/etc/passwd`);
-- error:
-- /etc/passwd lies outside the folders

-- case: a view
create or replace temporary view v as select * from csv.`/etc/passwd`;
-- error:
-- /etc/passwd lies outside the folders

-- case: a cached table
cache table v as select * from csv.`/etc/passwd`;
-- error:
-- /etc/passwd lies outside the folders

-- case: a function of SQL
create temporary function f() returns string return (select max(_c0) from csv.`/etc/passwd`);
-- error:
-- /etc/passwd lies outside the folders

-- case: describe
describe table extended csv.`/etc/passwd`;
-- error:
-- /etc/passwd lies outside the folders

-- case: describe a query
describe query select * from csv.`/etc/passwd`;
-- error:
-- /etc/passwd lies outside the folders

-- case: analyze
analyze table csv.`/etc/passwd` compute statistics;
-- error:
-- /etc/passwd lies outside the folders

-- case: explain
explain select * from csv.`/etc/passwd`;
-- error:
-- /etc/passwd lies outside the folders

-- case: explain of what writes
explain insert overwrite directory '/opt/x' using csv select 1;
-- error:
-- /opt/x lies outside the folders

-- case: insert into a file
insert into csv.`/opt/x` select 1;
-- error:
-- /opt/x lies outside the folders

-- case: create table as select with a location
create table z using csv location '/opt/x' as select 1 as a;
-- error:
-- /opt/x lies outside the folders

-- case: create table like with a location
create table z like y location '/etc';
-- error:
-- /etc lies outside the folders

-- case: a location of an existing table
alter table z set location '/etc';
-- error:
-- /etc lies outside the folders

-- case: a location of a partition
alter table z add partition (a = 1) location '/etc';
-- error:
-- /etc lies outside the folders

-- case: a database's folder
create database d location '/opt/d';
-- error:
-- /opt/d lies outside the folders

-- case: a path among a table's properties
alter table z set serdeproperties ('path' = '/etc');
-- error:
-- /etc lies outside the folders

-- case: load data
load data local inpath '/etc/passwd' into table z;
-- error:
-- /etc/passwd lies outside the folders

-- case: refresh a path
refresh '/etc';
-- error:
-- /etc lies outside the folders

-- case: a function's class
create temporary function f as 'org.apache.hadoop.hive.ql.udf.generic.GenericUDFReflect';
-- error:
-- a function's class is code, so it is off

-- case: a method by its full name
select system.builtin.reflect('java.lang.System', 'getenv', 'HOME') as a as t;
-- error:
-- reflect calls any method of the JVM

-- case: a method in backquotes
select `reflect` /* x */ ('java.lang.System', 'getenv', 'HOME') as a as t;
-- error:
-- reflect calls any method of the JVM

-- case: a method in a condition
select 1 as a as t;
!assert t "reflect('java.lang.System', 'getenv', 'HOME') is null";
-- error:
-- reflect calls any method of the JVM

-- case: a method in a branch
!if '''reflect('java.lang.System', 'getenv', 'HOME') == 'x' ''';
!fi;
-- error:
-- reflect calls any method of the JVM

-- case: a scheme that hides the machine
load text.`viewfs:///etc/hostname` as t;
-- error:
-- lies outside the folders

-- case: a file within the folders
select count(*) as n from csv.`${data}/people.csv` as t;
select * from identifier('t') as u;
execute immediate 'select n + 1 as n from u';
-- rows:
-- [{"n": 5}]

-- case: a computed name when everything is allowed
-- with: allow.folders=/
-- with: allow.shell=true
select 1 as a as t;
select * from identifier('t' || '') as u;
-- rows:
-- [{"a": 1}]

-- case: columns whose names are those of formats, in backquotes and behind dots
select named_struct('text', 'b') as json as t;
select json.text as a, t.json.`text` as b, `t`.`json`.text as c from t as u;
-- rows:
-- [{"a": "b", "b": "b", "c": "b"}]

-- case: tables of a database
create database if not exists shelf;
create table shelf.books (a int) using parquet location '${out}/books';
insert into shelf.books values (3);
select a from `shelf`.`books` as t;
set a = "select max(a) from t" where type="sql";
drop table shelf.books;
drop database shelf;
select ${a} as a as u;
-- rows:
-- [{"a": 3}]

-- case: a directory within the folders
insert overwrite directory '${out}/d' using json select 1 as a;
select a from json.`${out}/d` as t;
-- rows:
-- [{"a": 1}]

-- case: options of a view within the folders
create or replace temporary view v using csv options (path '${data}/people.csv', 'header' = 'true', inferSchema true);
select sum(age) as n from v as u;
-- rows:
-- [{"n": 112}]
