"""Questions about a PDF, answered with their sources: LangChain on the models, or on an index, of SQLLLM's gateway.

    pip install langchain-openai langchain-chroma langchain-community langchain-text-splitters pypdf
    python pdf_qa_langchain.py --pdf lake.pdf    # LangChain reads and splits the file; Chroma holds the vectors
    python pdf_qa_langchain.py --index papers    # an index that `save overwrite chunks as index.`papers`` wrote

Each line of the input is a question. A question may refer to those before it.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from langchain_chroma import Chroma
from langchain_community.document_loaders import PyPDFLoader
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from openai import OpenAI

REWRITE = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "Rewrite the last question so that a reader understands it without the conversation."
            " Reply with the question alone, in its own language.",
        ),
        MessagesPlaceholder("history"),
        ("human", "{question}"),
    ]
)
ANSWER = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "Answer from the sources alone. Cite the source of each fact by its number, as in [1]."
            " If the sources do not hold the answer, reply that you do not know.\n\n{sources}",
        ),
        ("human", "{question}"),
    ]
)


class IndexRetriever(BaseRetriever):
    """The rows of an index of SQLLLM that fit a question best, by meaning and by words, searched at the gateway."""

    client: OpenAI
    index: str
    k: int = 4

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        hits = self.client.vector_stores.search(self.index, query=query, max_num_results=self.k).data
        return [
            Document(hit.content[0].text, id=hit.file_id, metadata={"source": hit.filename, **(hit.attributes or {})})
            for hit in hits
        ]


def chroma(path: str, embeddings: OpenAIEmbeddings, k: int) -> BaseRetriever:
    """A retriever over the chunks of a PDF, whose vectors Chroma holds in memory."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=100)
    chunks = splitter.split_documents(PyPDFLoader(path).load())
    if not chunks:
        raise SystemExit(f"{path} has no text: its pages may be scans")
    for chunk in chunks:
        chunk.metadata["page"] += 1  # PyPDFLoader counts pages from 0
    return Chroma.from_documents(chunks, embeddings).as_retriever(search_kwargs={"k": k})


def answer(
    llm: ChatOpenAI, retriever: BaseRetriever, question: str, history: Sequence[BaseMessage]
) -> tuple[str, dict[int, Document]]:
    """The answer, and the sources that it cites by their number."""
    if history:
        question = (REWRITE | llm | StrOutputParser()).invoke({"history": history, "question": question})
    found = dict(enumerate(retriever.invoke(question), 1))
    sources = "\n\n".join(f"[{number}] {document.page_content}" for number, document in found.items())
    text = (ANSWER | llm | StrOutputParser()).invoke({"sources": sources, "question": question})
    cited = sorted({int(number) for number in re.findall(r"\[(\d+)\]", text)})
    return text, {number: found[number] for number in cited if number in found}


def main() -> None:
    parser = argparse.ArgumentParser(description="Questions about a PDF, answered with their sources.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pdf", help="a file to read, split and keep in Chroma")
    what.add_argument("--index", help="an index of SQLLLM to search")
    parser.add_argument("--chat", default="chat", help="the deployed model that answers (default: chat)")
    parser.add_argument("--embeddings", default="emb", help="the deployed model that embeds (default: emb)")
    parser.add_argument("--k", type=int, default=4, help="sources that the model gets (default: 4)")
    given = parser.parse_args()

    gateway = {
        "base_url": os.environ.get("SQLLLM_BASE_URL", "http://127.0.0.1:8000/v1"),
        "api_key": os.environ.get("SQLLLM_API_KEY", "none"),
    }
    llm = ChatOpenAI(model=given.chat, temperature=0, **gateway)
    retriever: BaseRetriever
    if given.index:
        retriever = IndexRetriever(client=OpenAI(**gateway), index=given.index, k=given.k)
    else:
        # Without the check, the texts themselves are sent: the tokens of OpenAI's models mean nothing to other models.
        embeddings = OpenAIEmbeddings(model=given.embeddings, check_embedding_ctx_length=False, **gateway)
        retriever = chroma(given.pdf, embeddings, given.k)

    history: list[BaseMessage] = []
    while True:
        try:
            question = input("Q: ").strip()
        except EOFError:
            break
        if not question:
            continue
        text, sources = answer(llm, retriever, question, history[-6:])
        print(f"A: {text}")
        for number, document in sources.items():
            name, page = Path(document.metadata["source"]).name, document.metadata.get("page")
            print(f"   [{number}] {name}" + ("" if page is None else f", page {page:g}"))
        history += [HumanMessage(question), AIMessage(text)]


if __name__ == "__main__":
    main()
