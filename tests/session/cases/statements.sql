-- case: load, select and the last table
load json.`${data}/people.json` as people;
select name, age + 1 as next from people where age > 30 order by age as older;
-- rows:
-- [{"name": "Bo", "next": 42}, {"name": "Cy", "next": 52}]

-- case: a leading and, backquoted keys, comments inside the clause
load csv.`${data}/people.csv` where
-- the first line names the columns
and header="true" /* and types are guessed */ and `inferSchema`="true"
as people;
select sum(age) as years from people as total;
-- rows:
-- [{"years": 112}]

-- case: a select without a name is the last table
select 1 as one from range(1);
-- rows:
-- [{"one": 1}]

-- case: text values reach a literal unchanged
set who = '''O'Brien "the; -- second" {{y}} \ end''';
select '${who}' as a, "${who}" as b as t;
-- rows:
-- [{"a": "O'Brien \"the; -- second\" {{y}} \\ end", "b": "O'Brien \"the; -- second\" {{y}} \\ end"}]

-- case: set from a query
set top = '''select max(id) from range(5)''' where type="sql";
select ${top} * 2 as twice as t;
-- rows:
-- [{"twice": 8}]

-- case: a default parameter does not replace what is set
set a = "1"; set a = "2" where type="defaultParam";
select '${a}' as a as t;
-- rows:
-- [{"a": "1"}]

-- case: Spark's configuration
set spark.sql.session.timeZone = "UTC" where type="conf";
select current_timezone() as zone as t;
-- rows:
-- [{"zone": "UTC"}]

-- case: a table's name may hold anything
select 1 as a as `中文 na``me-1`;
!cache `中文 na``me-1`;
run `中文 na``me-1` as EmptyTable.`` as `e.1-2`;
select a, (select count(*) from `e.1-2`) as n from `中文 na``me-1` as t_${date.toString("yyyy")};
-- rows:
-- [{"a": 1, "n": 0}]

-- case: save and load again
load json.`${data}/people.json` as people;
save overwrite people as parquet.`${out}/people` partitionBy age;
load parquet.`${out}/people` as again;
select count(*) as n, max(age) as oldest from again as t;
-- rows:
-- [{"n": 3, "oldest": 51}]

-- case: prompts from columns
select llm_prompt('{0} is {1:old} {2:here}', array('Bo', '41')) as p as t;
-- rows:
-- [{"p": "Bo is 41 here"}]

-- case: a prompt inside a request, as Byzer's manual has it
select 'Bo' as name, array('a', 'b') as tags as t;
select llm_param(map("instruction", llm_prompt('I am {0:nobody}, {1:here} {}', array(name)),
  "system_msg", array_join(transform(tags, x -> upper(x)), ','))) as q from t as u;
select llm_stack(array('{"history":"[]"}'), llm_param(map("instruction", llm_prompt('{}', array(q[0]))))) as q from u as v;
select get_json_object(get_json_object(q[0], '$.instruction'), '$.system_msg') as tags, q[0] like '%I am Bo, here Bo%' as there,
  get_json_object(q[0], '$.history') as history from v as w;
-- rows:
-- [{"tags": "A,B", "there": true, "history": "[]"}]

-- case: an llm function where Spark takes no function of SQL
select id, array(to_json(named_struct('output', string(10 - id)))) as q from range(3) as t;
select id from t order by llm_result(q) desc limit 2 as u;
select collect_list(id) as ids, transform(array('x'), x -> llm_prompt('{0}!', array(x))) as p from u as v;
-- rows:
-- [{"ids": [1, 2], "p": ["x!"]}]

-- case: setup in every spelling
!byzerllm setup single; !byzerllm setup "num_gpus=0"; !llm setup "maxConcurrency=2"; !byzerllm setup "infer_backend=ray/vllm";
select 1 as one as t;
-- rows:
-- [{"one": 1}]

-- case: a query in pipes, and one that names its table first
load json.`${data}/people.json` as people;
from people |> where age > 30 |> select name as older;
from older select upper(name) as name order by name as t;
-- rows:
-- [{"name": "BO"}, {"name": "CY"}]

-- case: values and a table are queries
values (1, 'a'), (2, 'b') as pairs;
select col1 * 10 as ten from pairs as tens;
table tens;
-- rows:
-- [{"ten": 10}, {"ten": 20}]

-- case: Spark's variables, and SQL from a text
declare or replace variable most int default 5;
set var most = (select max(id) from range(9));
execute immediate 'select ? + 1 as n' using most;
-- rows:
-- [{"n": 9}]

-- case: the time zone as Spark spells it
set time zone 'Asia/Tokyo';
set zone = "select current_timezone()" where type="sql";
set time zone 'UTC';
select '${zone}' as zone as t;
-- rows:
-- [{"zone": "Asia/Tokyo"}]

-- case: Spark's own key needs no type
set spark.sql.session.timeZone = "Europe/Paris";
set zone = "select current_timezone()" where type="sql";
set was = "${spark.sql.session.timeZone}";
set spark.sql.session.timeZone = "UTC";
select '${zone}' as zone, '${was}' as was as t;
-- rows:
-- [{"zone": "Europe/Paris", "was": "Europe/Paris"}]

-- case: a comment in a comment, and one that only looks like it
select 1 as a /* outer /* inner; */ still ' outer */ as t;
/* load csv.`/data/*` as old; */
select a + 1 as b /* from `/data/*` */ from t as u;
-- rows:
-- [{"b": 2}]

-- case: of an option given twice the last one counts, with a warning
load csv.`${data}/people.csv` where header="false" and header="true" as t;
select count(*) as n from t;
-- rows:
-- [{"n": 3}]

-- case: the note about an option given twice
load csv.`${data}/people.csv` where header="false" and
  header="true" as t;
-- printed:
-- note: option header is given twice; the last one counts (<script>:1:37)
