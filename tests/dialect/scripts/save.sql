save t as parquet.`/out`;
save overwrite t as csv.`/out/${day}` where header="true" and fileNum="4" partitionBy year, `the month`;
save append append t as delta.`/d` partitionby day;
SAVE ErrorIfExists t AS json.out;
save ignore t as jdbc.`db.t`;
