-- case: Python is off
register ScriptUDF.`` as plus where lang="python" and code="def apply(x): return x";
-- error:
-- lang="python" runs code of the script, so it is off
-- --set allow.python=true
-- <script>:1:

-- case: a Python function with hints
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code='''
import math

def helper(x):
    return math.floor(x)

def apply(x: float, y: int) -> int:
    return helper(x) + y
''';
select plus(1.5, id) as n from range(2) order by id as t;
-- rows:
-- [{"n": 1}, {"n": 2}]

-- case: the type as an option, another function's name, a list
-- with: allow.python=true
register ScriptUDF.`` as cut where lang="python" and methodName="cut" and dataType="array<string>" and code='''
def cut(text):
    return text.split("-")
''';
register ScriptUDF.`` as letters where lang="python" and code="def apply(text) -> list[str]: return list(text)";
select cut('a-b') as a, letters('cd') as b as t;
-- rows:
-- [{"a": ["a", "b"], "b": ["c", "d"]}]

-- case: a function that does not say what it returns
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code="def apply(x): return x";
-- error:
-- plus does not say what it returns
-- dataType="bigint"

-- case: a mistake in Python stands at its line
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code='''
def apply(x) -> int:
    return x +
''';
-- error:
-- Python: invalid syntax
-- <script>:4:1

-- case: Python that fails as it is defined
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code='''
import os
1 / 0
''';
-- error:
-- Python: ZeroDivisionError: division by zero
-- <script>:4:1

-- case: Python that fails over rows
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code="def apply(x) -> int: return 1 // x";
select plus(id) as n from range(1) as t;
-- error:
-- a Python function failed: ZeroDivisionError
-- <script>:3:1

-- case: no function of that name
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code="def plus(x) -> int: return x";
-- error:
-- the code defines no function apply
-- <script>:2:55

-- case: a function in SQL
register ScriptUDF.`` as twice where lang="sql" and code='''(x int) returns int return x * 2''';
select twice(21) as n as t;
-- rows:
-- [{"n": 42}]

-- case: a mistake in SQL stands at its place
register ScriptUDF.`` as twice where lang="sql" and code='''(x int) returns int return y * 2''';
-- error:
-- <script>:1:88

-- case: Scala becomes Python
register ScriptUDF.`` as plus1 where lang="scala" and code='''def apply(x: Int) = x + 1''';
-- error:
-- functions in Scala are not here
-- as plus1 where lang="python"
-- def apply(

-- case: Scala is what Byzer takes without a language
register ScriptUDF.`x` as plus1;
-- error:
-- functions in Scala are not here

-- case: an unknown language
register ScriptUDF.`` as f where lang="pyhton" and code="x";
-- error:
-- unknown language pyhton
-- Did you mean python?
-- <script>:1:34

-- case: another module
register RandomForest.`/tmp/model` as predict;
-- error:
-- a model of RandomForest is not a function here
-- <script>:1:10

-- case: unregister
register ScriptUDF.`` as twice where lang="sql" and code='''(x int) returns int return x * 2''';
unregister ScriptUDF.`twice`;
select twice(21) as n as t;
-- error:
-- twice
-- <script>:3:8

-- case: unregister what is not there
unregister ScriptUDF.`nothing`;
-- error:
-- there is no function nothing
-- <script>:1:22

-- case: as Byzer-SQL's manual writes Python
-- with: allow.python=true
register ScriptUDF.`` as echo where and lang="python" and dataType="map(string,array(decimal(4,1)))" and code='''
def apply(self, m):
    return m
''';
select echo(map("a", array(1.5)))["a"][0] = 1.5 as same as t;
-- rows:
-- [{"same": true}]

-- case: a function takes the place of one in another language, and the other way round
-- with: allow.python=true
register ScriptUDF.`` as plus where lang="python" and code="def apply(x: int) -> int: return x + 1";
register ScriptUDF.`` as plus where lang="sql" and code="(x int) returns int return x + 10";
select plus(1) as ten as first;
register ScriptUDF.`` as plus where lang="python" and code="def apply(x: int) -> int: return x + 100";
select ten, plus(1) as hundred from first as both;
-- rows:
-- [{"ten": 11, "hundred": 101}]
