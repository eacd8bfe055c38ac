-- Questions about a folder of PDFs, answered with the page and the sentence that says it.
-- models/all-MiniLM-L6-v2 is any model that embeds; the chat model is any of a provider's, or one in a folder.

run command as LLM.`` where action="infer" and localModelDir="models/all-MiniLM-L6-v2" and udfName="emb";

run command as LLM.`` where action="infer" and pretrainedModelType="saas/openai" and udfName="chat"
and `saas.model`="gpt-4.1-mini" and `saas.api_key`="env:OPENAI_API_KEY";

load pdf.`papers/*.pdf` as pages;

select concat_ws('#', path, page, chunk.chunk_id) as id, path, page, chunk.content from pages
lateral view explode(ai_chunk(text, max_tokens => 120, overlap => 20)) as chunk as chunks;

save overwrite chunks as index.`papers` where text="content" and model="emb" and key="id" and document="path";

select answered.answer, answered.answered, source.document, source.page, source.quote from (
  select ai_answer(index => 'papers', question => question, model => 'chat') as answered
  from values ('How deep is the lake?'), ('Who paid for the work?') as asked(question)
) lateral view outer explode(answered.sources) as source as answers;
