!show tables;
!byzerllm setup "num_gpus=4";
!hdfs -ls /tmp/a-b/c.d;
!desc `a table`;
!foo "a b" 'c;d' '''e
f''' raw${x}/y ~/z > out;
!plugin et add - "x-3.0" named y;
!lastCommand named t;
! show version;
