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
-- path is no option

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

-- case: a column of a table called text is no file
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

-- case: a column called path is no path
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
-- a function's jar is code, so it is off

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
declare or replace variable query string default 'select 1';
execute immediate query;
-- error:
-- execute immediate takes SQL from a value
