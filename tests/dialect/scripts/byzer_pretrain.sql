-- settings
set ds_config='''
{
  "gradient_accumulation_steps": 1,
  "train_micro_batch_size_per_gpu": 1,
  "optimizer": {
    "type": "AdamW",
    "params": {
      "lr": 1e-8,
      "eps": 1.0e-8,
      "betas": [
        0.9,
        0.95
      ],
      "weight_decay": 0.1
    }
  },
  "zero_optimization": {
    "stage": 3,
    "offload_optimizer": {
         "device": "cpu"         
     },           
    "overlap_comm": true
  },
  "bf16": {
    "enabled": true
  }
}
''';

-- texts
load text.`file:///data/raw_data/*`
where wholetext="true" as trainData;

select value as text,file from trainData  as newTrainData;

-- one partition for each GPU
run newTrainData as TableRepartition.`` where partitionNum="12" and partitionCols="file" 
as finalTrainData;


-- twelve GPUs
!byzerllm setup sfft;
!byzerllm setup "num_gpus=12";

-- the run
run command as LLM.`` where 
and localPathPrefix="/models/sfft/jobs"
and pretrainedModelType="sfft/llama2"
-- where it starts from
and localModelDir="/models/Llama-2-7b-chat-hf"
-- and localDataDir="/data/raw_data"

-- goes on without this script
-- for days
and detached="true"
and keepPartitionNum="true"

-- optional
and deepspeedConfig='''${ds_config}'''


-- the table
and inputTable="finalTrainData"
and outputTable="llama2_cn"
and model="command"
-- the rest
and `sfft.int.max_length`="128"
and `sfft.bool.setup_nccl_socket_ifname_by_ip`="true"
;
