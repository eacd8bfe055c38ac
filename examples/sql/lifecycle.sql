-- The whole life of a language model in one script, in minutes on two cores, from random weights: pretrain, fine-tune,
-- evaluate, deploy, ask. Nothing is downloaded. Run it with `sqlllm run examples/sql/lifecycle.sql`.

set pretrain_steps = "300";
set steps = "800";

load csv.`examples/data/orders.csv` where header="true" as orders;

-- 1. Pretrain: a new model reads the notes, and learns how such notes are written. It knows no answers yet.
select note as text from orders where split = 'train' as texts;

run texts as LLM.`` where
    action="finetune"
    and pretrainedModelType="sfft/auto"
    and name="notes"
    and `sfft.int.max_length`="128"
    and `sfft.int.max_steps`="${pretrain_steps}"
as pretrained;

-- 2. Fine-tune: from there it learns the task, a question and its answer on each row.
select note as instruction, due_date as output from orders where split = 'train' as lessons;

set base = '''select model from pretrained''' where type="sql";

run lessons as LLM.`` where
    action="finetune"
    and name="due-dates"
    and localModelDir="${base}"
    and `sft.bool.use_peft`="false"
    and `sft.float.learning_rate`="2e-3"
    and `sft.int.per_device_train_batch_size`="16"
    and `sft.int.gradient_accumulation_steps`="1"
    and `sft.int.max_steps`="${steps}"
as tuned;

-- 3. Evaluate: on notes that neither has seen, the tuned model beside the one it started from.
select note as instruction, due_date as output from orders where split = 'test' limit 100 as unseen;

set run = '''select name from tuned''' where type="sql";

run unseen as LLM.`` where
    action="evaluate"
    and run="${run}"
    and maxTokens="16"
as figures;

-- 4. Deploy it as the SQL function `due_date`, and ask. For five questions transformers is up sooner than vLLM, which is
-- what runs a model where nothing is named.
set model = '''select model from tuned''' where type="sql";

run command as LLM.`` where
    action="infer"
    and udfName="due_date"
    and inferBackend="transformers"
    and localModelDir="${model}"
as deployed;

select note, llm_result(due_date(llm_param(map("instruction", note, "max_tokens", "16")))) as due
from orders where split = 'test' limit 5
as answers;

!head answers 5;

-- 5. Where it comes from: each run has a record, and knows the run before it.
load llm.`runs` as runs;

select name, kind, state, parent, rows, steps, round(loss, 3) as loss, substr(fingerprint, 1, 8) as table_fingerprint
from runs order by started desc limit 2
as lineage;

!head lineage 2;

select exact_match, round(base_exact_match, 3) as before from figures as score;

set exact = '''select exact_match from score''' where type="sql";
set before = '''select before from score''' where type="sql";

!println "exact=${exact} before=${before} seconds=${elapsed_seconds}";
