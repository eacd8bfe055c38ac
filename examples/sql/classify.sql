-- From free text to a labelled table: a model reads 300 support tickets and names the topic of each.

-- 1. A model, under the name `chat`. This stand-in looks its answers up in a table, so the script runs with no key and no
--    weights. For a real model, write its statement here instead: docs/first-model.md has one for each kind.
run command as LLM where action="infer" and udfName="chat"
and pretrainedModelType="oracle/table" and localModelDir="examples/data/tickets.csv"
and `backend.prompt`="text" and `backend.answer`="topic" and `backend.key`="(?s)(.*)";

-- 2. Your own table: any CSV file with a header.
load csv.`examples/data/tickets.csv` where header="true" as tickets;

-- 3. What it costs, before any request is sent.
explain llm select ai_classify(text, array('refund', 'delivery', 'account', 'product')) as label from tickets;

-- 4. A label for each row. Equal texts are asked once, and a second run asks nothing again.
select id, text, ai_classify(text, array('refund', 'delivery', 'account', 'product')) as label
from tickets as labelled;

select label, count(*) as n from labelled group by label order by n desc as counts;

-- 5. The result, as a file.
!export labelled "labelled.csv";

select * from counts;
