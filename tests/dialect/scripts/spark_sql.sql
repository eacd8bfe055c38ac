insert into t select * from s where x = 'a;b';
create temporary function f as 'a.B';
drop table if exists t;
refresh table t;
show tables;
describe extended t;
explain extended select m(x) from t;
create table t as select 1 as b;
