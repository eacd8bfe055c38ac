-- case: the first branch that holds
set n = "3";
!if ''' :n > 5 '''; select "a" as x as t;
!elif ''' :n > 2 and :n > 1 '''; select "b" as x as t;
!elif ''' true '''; select "c" as x as t;
!else; select "d" as x as t;
!fi;
select x from t as u;
-- rows:
-- [{"x": "b"}]

-- case: the last table of the branch is the table of the whole
!if ''' 1 = 2 '''; select 1 as a as t; !else; select 2 as a as t; select 3 as a as t; !fi;
-- rows:
-- [{"a": 3}]

-- case: no branch holds
select 7 as a as t;
!if ''' 1 > 2 '''; select 1 as a as t; !fi;
select a from t as u;
-- rows:
-- [{"a": 7}]

-- case: definitions, in the statements of the branch and in nested ones
set path = "data/x/y";
!if ''' select split(:path, "/")[0] as :root, length(:path) as :size; select :size * 2 as :twice; :root == "data" ''';
  !if ''' :twice == 16 ''';
    select '${root}' as root, ${size} as size as t;
  !fi;
!fi;
-- rows:
-- [{"root": "data", "size": 8}]

-- case: definitions are gone after the fi
!if ''' select 1 as :one; :one == 1 '''; select 1 as a as t; !fi;
select ${one} as a as t;
-- error:
-- variable one is not set
-- <script>:2:8

-- case: a definition hides a variable until the fi
set a = "out";
!if ''' select "in" as :a; true '''; select '${a}' as x as t; !fi;
select x, '${a}' as y from t as u;
-- rows:
-- [{"x": "in", "y": "out"}]

-- case: a branch that is not taken does not run
!if ''' false '''; select nothing as a as t; !fi;
select 1 as a as t;
-- rows:
-- [{"a": 1}]

-- case: NULL is not true
!if ''' cast(null as boolean) '''; select 1 as a as t; !else; select 2 as a as t; !fi;
-- rows:
-- [{"a": 2}]

-- case: a value with quotes is a value
set name = '''O'Brien "x"''';
!if ''' :name == 'O\'Brien "x"' and "${name}" == :name '''; select 1 as a as t; !else; select 2 as a as t; !fi;
-- rows:
-- [{"a": 1}]

-- case: a function of the script in a condition
register ScriptUDF.`` as twice where lang="sql" and code='''(x int) returns int return x * 2''';
!if ''' twice(:n) == 8 '''; select 1 as a as t; !fi;
-- error:
-- variable n is not set
-- <script>:2:15

-- case: a condition that is neither true nor false
!if ''' 1 + 2 '''; select 1 as a as t; !fi;
-- error:
-- this condition is 3, neither true nor false
-- <script>:1:9

-- case: an error in a condition stands at its place
set n = "3";
!if ''' :n > 1
  and uper("x") == "X" '''; select 1 as a as t; !fi;
-- error:
-- uper
-- <script>:3:7

-- case: an error of syntax in a condition
set n = "3";
!if ''' :n > > 1 '''; select 1 as a as t; !fi;
-- error:
-- <script>:2:14

-- case: a definition of several values
!if ''' select split("a,b", ",") as :parts; true '''; select 1 as a as t; !fi;
-- error:
-- :parts would hold several values
-- <script>:1:16

-- case: an error inside a branch
!if ''' true ''';
  select 1 as a as t;
  select b from t as u;
!fi;
-- error:
-- <script>:3:10
