set a = "1";
set a=1;
set learning_rate=1e-4;
set spark.sql.shuffle.partitions=200 where type="conf";
set n = `select count(*) from t` where type="sql" and mode="runtime";
set `the key`='x';
set body = '''
select "{0}" as x as t
''';
set key = "s" where scope="session" and visibility="un_select";
set cmd = "date" options type="shell";
set p = "v" where type="defaultParam";
set empty = "";
set also = '''''';
