--%comparator=of.a.test
--%msg=every figure should be there
/**
Usage:

set source="abc"; include local.`a.b`;
**/
!assert source in __set__  ''' source is missing. Try set source="" ''';
load json. `D:\data\one.json` as one;
run one AS JsonExpandExt .`` where inputCol="doc" AND structColumn = "true" as two;
save append two
as delta.`/data/two`
and idCols="id";
load doris.`shop.orders`
and `doris.fenodes`="127.0.0.1:8030"
and user="me" as orders;
load kafka.`$topic` OPTIONS
and kafka.bootstrap.servers="127.0.0.1:9092"
as events;
train one as RandomForest.`/data/forest` where
keepVersion="true"

-- the first group
and fitParam.0.maxDepth="4"
and `fitParam.1.maxDepth`='8'
;
run command as Ray.`` where inputTable="one" and
outputTable="${out}" and
code='''
# a comment of Python's
print(f"{1}")
''';
run command as JDBC.`db._` where
`driver-statement-0`="drop table if exists a"
--`driver-statement-1`="a comment"
and `driver-statement-2`='''
create table a (id int);''';
register  RandomForest.`/data/forest` as forest
options algIndex="0"
-- and autoSelectByMetric="f1"
;
include lib.`example.com/me/lib`
where
-- commit="abc" and
alias="lib";
!conn business
"url=jdbc:mysql://127.0.0.1:3306/a?b=c&d=e"
"user=me";
!ray on command py.train_py named "${out}";
!sh script '''
#!/bin/bash
home="${HOME-~}"; conda="${1-${home}/conda}"
echo "$(uname -s) ${conda}" '$PATH'
''';
!sh echo "${out}";
select 1 as a as mocked;set n=`select count(*) from mocked ` where type="sql" and mode="runtime";!if ''':n == 1 ''';
!then;    select 1 as a as b;!else;  !fi;    select * from b as result;
select a as html, "" as dash from one as ${out};
select id, if((max(at) over ())=at,0,1) as last, `名` from one where k="4b933c30-8f16" as `中文表`;
--- three dashes
!assert result
''' :a>0 '''
"一定要有";
