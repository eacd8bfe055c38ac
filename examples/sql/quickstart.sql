-- From free text to a clean field: a small model learns from order notes whose due date is known, is deployed, and reads
-- the date of notes it has never seen. `make demo` runs it; no weights are downloaded.

load csv.`examples/data/orders.csv` where header="true" as orders;

-- Your own task: change this one query. It gives a text, its label, and whether to learn from it or to be tested on it.
set examples = '''select note as text, due_date as label, split from orders''';

-- 1. Learn: a question and its answer on each row. Without localModelDir a small Llama is trained from scratch.
select text as instruction, label as output from (${examples}) where split = 'train' as lessons;

run lessons as LLM.`` where action="finetune" and name="quickstart"
and `sft.int.max_steps`="1000"
as trained;

-- 2. Deploy what was trained, as the SQL function `answer`.
set model = '''select model from trained''' where type="sql";

run command as LLM.`` where action="infer" and udfName="answer" and localModelDir="${model}" as deployed;

-- 3. Ask about the rows that were held back.
select text, label, llm_result(answer(llm_param(map("instruction", text, "max_tokens", "16")))) as found
from (${examples}) where split = 'test' as answers;

!head answers 5;

select round(avg(if(found <=> label, 1, 0)), 3) as exact, count(*) as n from answers as score;

set exact = '''select exact from score''' where type="sql";
set n = '''select n from score''' where type="sql";

!println "exact=${exact} rows=${n} seconds=${elapsed_seconds}";
