-- case: a misspelt keyword
select 1 as a as t; laod json.`x` as u;
-- error:
-- at <script>:1:21
-- load

-- case: a table that does not exist
select 1 as a as people; select * from peopel as t;
-- error:
-- there is no table peopel
-- <script>:1:40
-- Did you mean people?

-- case: a table that save does not find
save overwrite nobody as json.`${out}/x`;
-- error:
-- there is no table nobody
-- <script>:1:16

-- case: a column that does not exist, on its own line
select 1 as a as t;
select a,
       upper(b) as c
from t as u;
-- error:
-- <script>:3:14

-- case: a path that does not exist
load json.`${data}/nowhere.json` as t;
-- error:
-- Path does not exist
-- <script>:1:11

-- case: a format that does not exist
load jason.`x` as t;
-- error:
-- jason
-- <script>:1:

-- case: a variable that is not set
set folder = "x"; load json.`${foldr}/y` as t;
-- error:
-- variable foldr is not set
-- <script>:1:30
-- Did you mean folder?

-- case: an error when rows are computed names its select
select raise_error(concat('no row ', id)) as x from range(1) as t;
-- error:
-- no row 0
-- <script>:1:

-- case: an unknown module
select 1 as a as t; run t as LLN.``;
-- error:
-- unknown module LLN
-- <script>:1:30

-- case: an unknown action
run command as LLM.`` where action="infr";
-- error:
-- unknown action infr
-- <script>:1:36
-- Did you mean infer?

-- case: an unknown option of infer
run command as LLM.`` where action="infer" and udfNmae="x" and localModelDir="/m";
-- error:
-- unknown option udfNmae
-- <script>:1:48
-- Did you mean udfName?

-- case: infer without a function name
run command as LLM.`` where action="infer" and localModelDir="/m";
-- error:
-- infer needs udfName

-- case: a model under the name of a function of SQL
run command as LLM.`` where action="infer" and udfName="Rank" and localModelDir="/m";
-- error:
-- Rank is a function of SQL already
-- <script>:1:48
-- Write another name: udfName="Rank_model", for example.

-- case: a model under the name of a function of ours
run command as LLM.`` where action="infer" and udfName="ai_gen" and localModelDir="/m";
-- error:
-- ai_gen is a function of SQL already

-- case: a way to share out requests that there is not
run command as LLM.`` where action="infer" and udfName="x" and localModelDir="/m" and load_balance="pefix";
-- error:
-- load_balance: Input should be 'least_busy', 'round_robin' or 'prefix'
-- <script>:1:87

-- case: an option of autoscaling that there is not
run command as LLM.`` where action="infer" and udfName="x" and localModelDir="/m" and `autoscale.max_worker`="2";
-- error:
-- unknown option autoscale.max_worker
-- Did you mean autoscale.max_workers?

-- case: autoscaling out of order
run command as LLM.`` where action="infer" and udfName="x" and localModelDir="/m" and `autoscale.min_workers`="2";
-- error:
-- min_workers 2 is more than max_workers 1

-- case: a resource that is not a valid amount
run command as LLM.`` where action="infer" and udfName="x" and localModelDir="/m" and resource.big="much";
-- error:
-- resource.big: 'much' is not a valid amount

-- case: finetune without a table
run command as LLM.`` where action="finetune" and pretrainedModelType="sft/auto";
-- error:
-- finetune needs a table to learn from

-- case: an unknown option of finetune
select 1 as a as t; run t as LLM.`` where `sft.int.num_train_epoch`="3";
-- error:
-- num_train_epoch
-- <script>:1:43
-- num_train_epochs

-- case: an unknown setup key
!byzerllm setup "maxCocurrency=2";
-- error:
-- unknown setup key maxCocurrency
-- Did you mean maxConcurrency?

-- case: an unknown setup
!byzerllm setup singel;
-- error:
-- unknown setup singel
-- Did you mean single?

-- case: an unknown command
!byzerlm setup single;
-- error:
-- unknown command !byzerlm
-- Did you mean !byzerllm?

-- case: an unknown type of variable
set a = "x" where type="sqll";
-- error:
-- unknown type sqll
-- Did you mean sql?

-- case: the shell is off
set a = "ls" where type="shell";
-- error:
-- runs commands on the driver, so it is off
-- allow.shell

-- case: a script cannot allow itself the shell
set allow.shell = "true";
-- error:
-- a script cannot set allow.shell

-- case: an unknown setting
set llm.in_fligt = "3";
-- error:
-- unknown setting llm.in_fligt
-- Did you mean llm.in_flight?
-- <script>:1:5

-- case: a setting out of range
set llm.in_flight = "0";
-- error:
-- llm.in_flight
-- greater than or equal to 1

-- case: two errors are found at once
laod json.`x` as t;
select 1 as a as b;
sav overwrite b as json.`x`;
-- error:
-- the script has 2 errors
-- <script>:1:1
-- <script>:3:1

-- case: a string that is not closed is reported where it opens
set t = "numbers"; set it's_in = "x" where type="defaultParam";
-- error:
-- this string is not closed
-- <script>:1:26

-- case: a value that needs another variable names it
set who = "it is ${x}";
select '${who}' as who as t;
-- error:
-- who needs ${x}, which is not set
-- <script>:2:9

-- case: a function that does not exist
select 1 as a as t;
select a, llm_parm(map("a", "b")) as p from t as u;
-- error:
-- there is no function llm_parm
-- <script>:2:11
-- Did you mean llm_param? No model is deployed.

-- case: a variable whose SQL has a mistake
set n = """select 1 as a,
  max(b)""" where type="sql";
-- error:
-- `b` cannot be resolved
-- <script>:2:7

-- case: an unknown mode of a query
set n = "select 1" where type="sql" and mode="late";
-- error:
-- mode is runtime or compile
-- <script>:1:41

-- case: an error inside a request with a lambda keeps its place
set who = "Bo";
select llm_param(map("instruction", llm_prompt('${who} {0}', array(transform(array('a'), x -> x)[0])),
  "stop", wrong)) as q as t;
-- error:
-- `wrong` cannot be resolved
-- <script>:3:11

-- case: emoji and line ends of another system before a column that is not there
select 'x' as a as t; -- 🎉
select '🎉🎉' as e, 'é' as f,
  '👩‍👩‍👧' as g, no_such from t as u;
-- error:
-- no_such
-- <script>:3:17
-- 3 |   '👩‍👩‍👧' as g, no_such from t as u;
--   |              ^^^^^^^

-- case: a syntax error of Spark has its words first
select '🎉' as a frm t as u;
-- error:
-- Syntax error at or near 'frm'
-- <script>:1:17

-- case: a setting of Spark that it takes only when it starts
set spark.executor.memory = "4g";
-- error:
-- Spark takes spark.executor.memory only when it starts
-- <script>:1:5
-- Start with --set spark.executor.memory=...

-- case: the last alias is the name of the table
select 1 as x as base;
select b.x from base as b;
-- error:
-- b`.`x` cannot be resolved
-- <script>:2:8
-- The last `as b` names the statement's table.
-- or end the statement with a name: ... as b as result;

-- case: a format that is not here, and one with a near name
load mongo.`x` as t;
-- error:
-- format mongo is not here: it needs its database's own connector
-- <script>:1:6

-- case: a function by its own name and a wrong number of arguments
select lenght('x') as n as t;
-- error:
-- there is no function lenght
-- <script>:1:8
-- Did you mean length? No model is deployed.

-- case: no command that is not here is suggested
!plugn;
-- error:
-- unknown command !plugn
-- Known commands: assert,

-- case: a rule broken in a table with two columns of one name
select 1 as a, 2 as a, 3 as b as t;
!assert t ''':b > 3''' "b is large";
-- error:
-- b is large
-- 1 of 1 rows, the first: {'a': 1, 'a': 2, 'b': 3}

-- case: a rule about one of two columns of one name
select 1 as a, 2 as a, 3 as b as t;
!assert t ''':a > 3''' "a is large";
-- error:
-- two columns are named a
-- <script>:2:11
-- Name them apart in the select that makes t.
