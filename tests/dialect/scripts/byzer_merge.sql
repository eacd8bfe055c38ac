-- 合并 lora model + base model

!byzerllm setup single;

run command as LLM.`` where 
action="convert"
and pretrainedModelType="deepspeed/llama"
and model_dir="/models/sft/jobs/sft-william-2529bf9f/finetune_model/final/pretrained_model"
and checkpoint_dir="/models/sft/jobs/sft-william-2529bf9f/finetune_model/final"
and savePath="/models/sft/jobs/sft-william-2529bf9f/finetune_model/merge";
