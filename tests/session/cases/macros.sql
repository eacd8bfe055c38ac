-- case: arguments by position, by order and by default
set people = '''select {0} as a, "{}" as b, "{2:nobody}" as c as {1}''';
!people 3 found;
select * from found as t;
-- rows:
-- [{"a": 3, "b": "3", "c": "nobody"}]

-- case: an argument is a value, whatever it holds
set say = '''select '{0}' as said as t''';
!say "O'Brien; select ${x} -- {1} \\ ";
-- error:
-- variable x is not set

-- case: quotes and separators in an argument stay in it
set say = '''select '{0}' as said as t''';
!say '''O'Brien; select {1} -- "x"''';
-- rows:
-- [{"said": "O'Brien; select {1} -- \"x\""}]

-- case: named arguments
set count = '''select ${from} + 1 as n as t''';
!count _ -from 41;
-- rows:
-- [{"n": 42}]

-- case: the word after another, and all of them
set both = '''select "{-1:next(named,uuid())}" as named, '{:all}' as args as t''';
!both a b named c;
-- rows:
-- [{"named": "c", "args": "[\"a\", \"b\", \"named\", \"c\"]"}]

-- case: several statements, the last without its semicolon, and a macro in a macro
set inner = '''set n = "{0}"; select {0} as a as t''';
set outer = '''!inner {0}; select a + ${n} as b from t as u''';
!outer 4;
-- rows:
-- [{"b": 8}]

-- case: an argument is gone after the macro
set say = '''select '{0}' as said as t''';
!say one;
select '${argument_0}' as a as u;
-- error:
-- variable argument_0 is not set

-- case: a branch in a macro
set pick = '''!if "{0} > :n"; select "more" as a as t; !else; select "less" as a as t; !fi''';
set n = "2";
!pick 3;
-- rows:
-- [{"a": "more"}]

-- case: a built-in command goes before a variable
set println = '''select 1 as a as t''';
!println hello;
-- printed:
-- hello

-- case: a missing argument
set say = '''select '{0}' as a, '{1}' as b as t''';
!say one;
-- error:
-- !say needs an argument for {1}
-- at <script>:2:1

-- case: an error inside names the macro's line and the call
set say = '''select 1 as a as t;
select nothing from t as u''';
select 1 as a as t;
!say;
-- error:
-- at !say:2:8
-- in !say, run at <script>:4:1

-- case: a mistake in the text of a macro
set say = '''selct 1 as a as t''';
!say;
-- error:
-- unknown statement selct
-- at !say:1:1
-- in !say, run at <script>:2:1

-- case: recursion is refused
set a = "!b"; set b = "!a";
!a;
-- error:
-- !a runs itself: !a -> !b -> !a
-- at !b:1:1

-- case: an unknown command
!prinntln x;
-- error:
-- unknown command !prinntln
-- Did you mean !println?

-- case: a script in a variable
set part = '''select 5 as a as five''';
!runScript "${part}" named kept;
select a + 1 as b from kept as t;
-- rows:
-- [{"b": 6}]
