load csv.`a` where and sep="," and header="true" and sep=";" as t;
load csv.`/tmp/a b.csv` where header="true" and sep='\t' as t;
LOAD Json.people AS people;
load jsonStr.`rows` options multiLine = """true""" as t;
load hive.sales.orders as orders;
load csv.`` as empty;
load csv.`a``b` as `中文 name`;
load jdbc.`shop.orders` and partitionColumn='id' and url='''jdbc:mysql://h:3306/x?a=1&b=2;c''' as o;
load delta . `x` /* where */ where -- why
  versionAsOf = "3" as d
