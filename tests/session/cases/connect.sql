-- case: a database, loaded, saved and queried
connect jdbc where url="jdbc:derby:memory:first;create=true" and driver="org.apache.derby.jdbc.EmbeddedDriver" as db1;
load json.`${data}/people.json` as people;
save overwrite people as jdbc.`db1.PEOPLE`;
save append people as jdbc.`db1.PEOPLE`;
load jdbc.`db1.PEOPLE` as again;
load jdbc.`db1` where query='''select max("age") as OLDEST from PEOPLE''' as oldest;
select (select count(*) from again) as n, OLDEST from oldest as t;
-- rows:
-- [{"n": 6, "OLDEST": 51}]

-- case: the options of the statement go before those of the connection
connect jdbc where url="jdbc:derby:memory:nowhere" and driver="org.apache.derby.jdbc.EmbeddedDriver" as db1;
select 1 as A as t;
save overwrite t as jdbc.`db1.T` where url="jdbc:derby:memory:second;create=true";
load jdbc.`db1.T` where url="jdbc:derby:memory:second" as u;
-- rows:
-- [{"A": 1}]

-- case: without a connection
load jdbc.`sys.SYSTABLES` where url="jdbc:derby:memory:third;create=true" and driver="org.apache.derby.jdbc.EmbeddedDriver" as t;
select count(*) > 5 as some from t as u;
-- rows:
-- [{"some": true}]

-- case: a connection that is not there
connect jdbc where url="jdbc:derby:memory:first" as shop;
load jdbc.`shp.PEOPLE` as t;
-- error:
-- there is no connection shp
-- Did you mean shop?
-- <script>:2:11

-- case: a table that the database does not have
connect jdbc where url="jdbc:derby:memory:fourth;create=true" and driver="org.apache.derby.jdbc.EmbeddedDriver" as db1;
load jdbc.`db1.NOBODY` as t;
-- error:
-- NOBODY
-- <script>:2:11

-- case: a driver that is not there
load jdbc.`db1.x` where url="jdbc:nosuch://h/x" and password="hunter2" as t;
-- error:
-- there is no driver for jdbc:nosuch://h/x
-- --set spark.packages=
-- <script>:1:

-- case: a class that is not there
load jdbc.`db1.x` where url="jdbc:nosuch://h/x" and driver="com.nosuch.Driver" as t;
-- error:
-- there is no driver for jdbc:nosuch://h/x

-- case: a connection without a name
connect jdbc where url="jdbc:derby:memory:first";
-- error:
-- connect needs a name
-- <script>:1:1
