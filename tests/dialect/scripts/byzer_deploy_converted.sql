-- 部署
!byzerllm setup single;

set node="master";
!byzerllm setup "num_gpus=2";
!byzerllm setup "workerMaxConcurrency=1";

run command as LLM.`` where 
action="infer"
and pretrainedModelType="custom/auto"
and localModelDir="/models/my_3b_test2"
and reconnect="false"
and udfName="my_3b_chat"
and modelTable="command";
