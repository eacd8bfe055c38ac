connect jdbc where url="jdbc:postgresql://h/db" and user="u" and password="secret" as db1;
connect hbase options `zk`="h:2181";
