
select 
llama2_chat(llm_param(map(
              "user_role","User",
              "assistant_role","Assistant",
              "system_msg",'Answer in one word.',
              "instruction",llm_prompt('
My name is {0}              
',array("Zhu William"))

))) as q 
as q1;
