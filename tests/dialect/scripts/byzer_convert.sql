!byzerllm setup single;

run command as LLM.`` where 
action="convert"
and pretrainedModelType="deepspeed/llama3b"
and modelNameOrPath="/models/base_model"
and checkpointDir="/data/checkpoints"
and tag="Epoch-1"
and savePath="/models/my_3b_test2";

