"""langchain-postgres' vector stores, PGVectorStore and the older PGVector, over embeddings that are the same for the same text: what is
stored is found again, by its own meaning, its metadata, and its id, by several who store and search at once."""

import asyncio
import os

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import PGEngine, PGVector, PGVectorStore
from langchain_postgres.v2.indexes import HNSWIndex

from together import together

CLIENTS = 6
TURNS = 4
DIMENSIONS = 384
EMBEDDINGS = DeterministicFakeEmbedding(size=DIMENSIONS)
PLACE = "postgres@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**os.environ)


def words(me: int, turn: int, n: int) -> str:
    return f"conversation {me}, turn {turn}, message {n}"


def documents(me: int, turn: int) -> list[Document]:
    return [Document(page_content=words(me, turn, n), metadata={"owner": me, "n": n}) for n in range(5)]


def check(found: list[Document], me: int, turn: int, n: int) -> None:
    assert [document.page_content for document in found] == [words(me, turn, n)], found
    assert found[0].metadata["owner"] == me and found[0].metadata["n"] == n, found


def older(me: int) -> None:
    """A store of the older kind, one of three that are shared."""
    store = PGVector(
        embeddings=EMBEDDINGS, collection_name=f"memory {me % 3}", connection=f"postgresql+psycopg://{PLACE}", use_jsonb=True
    )
    for turn in range(TURNS):
        ids = store.add_documents(documents(me, turn), ids=[words(me, turn, n) for n in range(5)])
        check(store.similarity_search(words(me, turn, 3), k=1), me, turn, 3)
        check(store.similarity_search(words(me, turn, 2), k=1, filter={"owner": {"$eq": me}, "n": 2}), me, turn, 2)
        assert all(found.metadata["owner"] == me for found in store.similarity_search("anything", k=9, filter={"owner": me}))
        store.delete(ids[:1])
        assert store.get_by_ids(ids[:1]) == [] and len(store.get_by_ids(ids[1:])) == 4
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 3})
    assert len(retriever.invoke(words(me, 0, 1))) == 3


async def newer() -> None:
    engine = PGEngine.from_connection_string(f"postgresql+asyncpg://{PLACE}")
    await engine.ainit_vectorstore_table("memory", DIMENSIONS)
    store = await PGVectorStore.create(engine, EMBEDDINGS, "memory")

    async def life(me: int) -> None:
        for turn in range(TURNS):
            ids = await store.aadd_documents(documents(me, turn))
            check(await store.asimilarity_search(words(me, turn, 4), k=1), me, turn, 4)
            scored = await store.asimilarity_search_with_score(words(me, turn, 1), k=2)
            assert scored[0][0].page_content == words(me, turn, 1) and abs(scored[0][1]) < 1e-5, scored
            await store.adelete(ids[:1])
            assert {found.page_content for found in await store.aget_by_ids(ids)} == {words(me, turn, n) for n in range(1, 5)}

    await asyncio.gather(*(life(me) for me in range(CLIENTS)))
    await store.aapply_vector_index(HNSWIndex(name="nearest"))
    check(await store.asimilarity_search(words(1, 1, 2), k=1), 1, 1, 2)
    await store.areindex("nearest")
    assert await store.ais_valid_index("nearest")
    await store.adrop_vector_index("nearest")
    await engine.close()


# Each makes its tables and its collection if they are not there, which is not safe for several at once.
for first in range(3):
    older(CLIENTS + first)
together(older, CLIENTS)
asyncio.run(newer())
print("lived")
