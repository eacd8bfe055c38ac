-- case: Python is off
--%python
print(1)
-- error:
-- --%python runs code of the script, so it is off
-- --set allow.python=true
-- <script>:1:1

-- case: Python prints, reads tables and names its result
-- with: allow.python=true
select id from range(3) as t;
--%python
--%input=t
--%output=u
print("rows", t.count())
u = t.selectExpr("id * 2 as n").orderBy("n")
--%sql
select sum(n) as n from u as v;
-- rows:
-- [{"n": 6}]

-- case: what Python prints, and the value of its last line
-- with: allow.python=true
--%python
print("${price}", 1, end=" ")
print("two\nthree")
x = 4
x + 1
-- printed:
-- ${price} 1 two
-- three
-- 5

-- case: what a cell defines is there in the next, also for session.run
-- with: allow.python=true
#%python
def twice(x):
    return 2 * x
#%python
#%output=t
t = [{"n": twice(4), "m": None if False else "x"}]
#%python
session.run("select n + 1 as n from t as u;")
spark.table("u")
-- rows:
-- [{"n": 9}]

-- case: a script that Python runs leaves the variables of its own
-- with: allow.python=true
set n = "5";
--%python
session.run("set m = 6; select ${m} as m as inner;")
--%sql
select m + ${n} as n from inner as t;
-- rows:
-- [{"n": 11}]

-- case: pandas
-- with: allow.python=true
--%python
import pandas
pandas.DataFrame({"a": [1, 2]})
-- rows:
-- [{"a": 1}, {"a": 2}]

-- case: Python that fails names its line
-- with: allow.python=true
select 1 as a as t;
--%python
def inverse(x):
    return 1 / x

inverse(0)
-- error:
-- Python: ZeroDivisionError: division by zero
-- <script>:5:1
-- 5 |     return 1 / x

-- case: Python that cannot be read
-- with: allow.python=true
--%python
--%output=t
x = (1
-- error:
-- Python: '(' was never closed
-- <script>:4:1

-- case: an error of a statement that Python runs
-- with: allow.python=true
--%python
session.run("select nothing as a as t;", "inner")
-- error:
-- nothing
-- at inner:1:8

-- case: a cell that does not define its output
-- with: allow.python=true
--%python
--%output=t
x = 1
-- error:
-- the cell defines no t
-- <script>:4:1

-- case: an output that is not a table
-- with: allow.python=true
--%python
--%output=t
t = 5
-- error:
-- t is not a table but a int

-- case: an unknown parameter
-- with: allow.python=true
--%python
--%ouput=t
t = 5
-- error:
-- unknown option ouput
-- Did you mean output?
-- <script>:3:4

-- case: a parameter of Byzer's bridge
-- with: allow.python=true
--%python
--%runIn=driver
print(1)
-- printed:
-- note: --%runIn has no effect here: Python runs in this process
-- 1

-- case: a text
set who = "Bo";
--%string
--%output=s
# Hello ${who}; "quoted"
--%sql
select * from s as t;
-- rows:
-- [{"content": "# Hello Bo; \"quoted\"", "mime": "markdown"}]

-- case: a text in an unknown format
--%string
--%format=pdf
x
-- error:
-- unknown format pdf
-- <script>:2:4

-- case: a chat without a model
--%chat
Hello
-- error:
-- a chat cell needs a model
-- <script>:1:1

-- case: a chat with a model that is not deployed
--%chat
--%model=qwen
Hello
-- error:
-- there is no model qwen
-- <script>:2:10

-- case: a chat; the function stands in for a model
register ScriptUDF.`` as echo where lang="sql" and code='''(q array<string>) returns array<string>
return array(to_json(named_struct('output', get_json_object(get(q, 0), '$.instruction') || '!')))''';
set name = "Bo";
--%chat
--%model=echo
--%temperature=0.5
--%output=told
Tell ${name} a story; -- not a comment
-- rows:
-- [{"content": "Tell Bo a story; -- not a comment!", "mime": "markdown"}]

-- case: a chat goes on over a table, and q is the column of the answers
-- with: allow.python=true
register ScriptUDF.`` as echo where lang="python" and code='''
import json
def apply(requests) -> list[str]:
    return [json.dumps({"output": request, "history": "[]"}) for request in requests]
''';
--%chat
--%model=echo
--%output=first
--%temperature=0.5
One
--%chat
--%model=echo
--%input=first
--%output=second
--%format=html
Two
--%sql
select llm_result(q) as q from first union all select llm_result(q) from second as t;
-- rows:
-- [{"q": "{\"instruction\":\"One\",\"temperature\":\"0.5\"}"}, {"q": "{\"history\":\"[]\",\"instruction\":\"Two\"}"}]

-- case: a chart of a column that is not there
select 1 as a as t;
--%visualize
--%input=t
bar:
  x: a
  y: b
-- error:
-- the table has no column b
-- <script>:4:1

-- case: a cell of another engine
--%deployModel
--%url=http://h
x
-- error:
-- --%deploymodel cells are not here
