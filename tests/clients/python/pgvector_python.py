"""pgvector-python with each driver and ORM that it has types for: vectors go in and come out as they were, and the nearest are found."""

import asyncio
import os

import asyncpg
import numpy
import pgvector.asyncpg
import pgvector.psycopg
import pgvector.psycopg2
import psycopg
import psycopg2
import psycopg2.extras
from pgvector.psycopg import HalfVector, SparseVector
from pgvector.sqlalchemy import HALFVEC, Vector
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from together import together

CLIENTS = 8
TURNS = 10
DIMENSIONS = 384
SEED = 7


def vectors(me: int) -> numpy.ndarray:
    return numpy.random.default_rng(SEED + me).normal(size=(TURNS, DIMENSIONS)).astype(numpy.float32)


def same(found, wanted) -> bool:
    return numpy.array_equal(numpy.asarray(found, dtype=numpy.float32), wanted)


def on_psycopg_3(me: int) -> None:
    with psycopg.connect(autocommit=True) as connection:
        pgvector.psycopg.register_vector(connection)
        for turn, vector in enumerate(vectors(me)):
            connection.execute("INSERT INTO items VALUES (%s, %s, %s)", (me, turn, vector))
        for turn, vector in enumerate(vectors(me)):
            nearest = "SELECT owner, n, embedding FROM items ORDER BY embedding <=> %s LIMIT 1"
            owner, n, found = connection.execute(nearest, (vector,)).fetchone()
            assert (owner, n) == (me, turn) and same(found, vector), (owner, n)
        with connection.cursor().copy("COPY copied (owner, embedding) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "vector"])
            for vector in vectors(me):
                copy.write_row((me, vector))
        sparse = SparseVector({0: 1.0, 9: float(me)}, 10)
        half = HalfVector([1.0, float(me)])
        row = connection.execute("SELECT %s::sparsevec, %s::halfvec", (sparse, half), binary=True).fetchone()
        assert row[0].to_list()[9] == me and row[1].to_list() == [1.0, float(me)], row


def on_psycopg2(me: int) -> None:
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        pgvector.psycopg2.register_vector(cursor)
    for turn, vector in enumerate(vectors(me)):
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT owner, n, embedding FROM items ORDER BY embedding <-> %s LIMIT 1", (vector,))
            owner, n, found = cursor.fetchone()
            assert (owner, n) == (me, turn) and same(found, vector), (owner, n)
    connection.close()


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int]
    embedding = mapped_column(Vector(DIMENSIONS))
    half = mapped_column(HALFVEC(2))


def on_sqlalchemy() -> None:
    engine = create_engine("postgresql+psycopg://")
    Base.metadata.create_all(engine)

    def life(me: int) -> None:
        with Session(engine) as session:
            session.add_all([Document(owner=me, embedding=vector, half=[me, 1]) for vector in vectors(me)])
            session.commit()
        for vector in vectors(me):
            with Session(engine) as session:
                nearest = select(Document).order_by(Document.embedding.cosine_distance(vector)).limit(1)
                found = session.scalars(nearest).one()
                assert found.owner == me and same(found.embedding, vector), found.owner

    together(life, CLIENTS)
    engine.dispose()


async def on_asyncpg() -> None:
    async with asyncpg.create_pool(min_size=1, max_size=8, init=pgvector.asyncpg.register_vector) as pool:
        async def life(me: int) -> None:
            for turn, vector in enumerate(vectors(me)):
                nearest = "SELECT owner, n, embedding FROM items ORDER BY embedding <=> $1 LIMIT 1"
                row = await pool.fetchrow(nearest, vector)
                assert (row["owner"], row["n"]) == (me, turn) and same(row["embedding"], vector), row
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL hnsw.ef_search = 200")
                assert len(await connection.fetch("SELECT 1 FROM items ORDER BY embedding <=> $1 LIMIT 60", vector)) == 60
                await connection.copy_records_to_table("copied", records=[(me, vector) for vector in vectors(me)])

        await asyncio.gather(*(life(me) for me in range(CLIENTS)))
        assert await pool.fetchval("SELECT count(*) FROM copied") == 2 * CLIENTS * TURNS
        wrong = await pool.fetchval("SELECT count(*) FROM copied c WHERE NOT EXISTS (SELECT FROM items i WHERE i.owner = c.owner AND i.embedding = c.embedding)")
        assert wrong == 0, wrong


with psycopg.connect(autocommit=True) as setup:
    setup.execute("CREATE EXTENSION IF NOT EXISTS vector")
    setup.execute(f"CREATE TABLE items (owner int, n int, embedding vector({DIMENSIONS}))")
    setup.execute(f"CREATE TABLE copied (owner int, embedding vector({DIMENSIONS}))")
    setup.execute("CREATE INDEX ON items USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64)")
together(on_psycopg_3, CLIENTS)
together(on_psycopg2, CLIENTS)
on_sqlalchemy()
asyncio.run(on_asyncpg())


def on_django() -> None:
    import django
    from django.conf import settings
    from django.db import connection, models

    names = {"NAME": "PGDATABASE", "USER": "PGUSER", "HOST": "PGHOST", "PORT": "PGPORT"}
    place = {key: os.environ[name] for key, name in names.items()}
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **place}})
    django.setup()
    from pgvector.django import CosineDistance, VectorField

    class Item(models.Model):
        owner = models.IntegerField()
        n = models.IntegerField(primary_key=True)
        embedding = VectorField(dimensions=DIMENSIONS)

        class Meta:
            app_label = "items"
            db_table = "items"

    def life(me: int) -> None:
        for turn, vector in enumerate(vectors(me)):
            found = Item.objects.order_by(CosineDistance("embedding", vector)).first()
            assert (found.owner, found.n) == (me, turn) and same(found.embedding, vector), found
        connection.close()

    together(life, CLIENTS)


on_django()
print("lived")
