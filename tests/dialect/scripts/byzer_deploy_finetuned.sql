!byzerllm setup single;
run command as LLM.`` where 
action="infer"
and localPathPrefix="/models/infer/jobs"
and localModelDir="/models/sft/jobs/sft-william-ccb8fb55/finetune_model/final"
and pretrainedModelType="custom/llama2"
and udfName="fintune_llama2_chat"
and modelTable="command";
