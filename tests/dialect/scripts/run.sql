run command as LLM.``;
run t into RateSampler.`` where labelSize="2" as sampled;
train t as RandomForest.`/tmp/model` where and keepVersion="true" and `fitParam.0.labelCol`="label";
predict t as RandomForest.`/tmp/model` as predicted;
run command as Ray.`` where code='''
print("hello; world")
''' and inputTable="${t}";
run t as TableRepartition.`` as u where partitionNum=4
and partitionCols="k";
run lessons as LLM where action="finetune" as trained;
run t as Shuffle as shuffled;
run command as LLM;
