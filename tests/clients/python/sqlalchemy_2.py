"""SQLAlchemy 2 with its defaults, on psycopg and on asyncpg: pools, the ORM, savepoints, server-side streams, reflection, isolation
levels, and its recovery from an error. More threads and tasks than there are server connections."""

import asyncio
import datetime
import decimal
import sys

from sqlalchemy import ForeignKey, MetaData, Numeric, String, create_engine, func, insert, inspect, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from together import together

CLIENTS = 8
TURNS = 12


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    owner: Mapped[int] = mapped_column(index=True)
    facts: Mapped[dict] = mapped_column(JSONB, default=dict)
    tags: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    worth: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2), default=0)
    seen: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    notes: Mapped[list["Note"]] = relationship(back_populates="person", cascade="all, delete-orphan")


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str]
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    person: Mapped[Person] = relationship(back_populates="notes")


def person(me: int, turn: int) -> Person:
    return Person(
        name=f"{me}/{turn}",
        owner=me,
        facts={"me": me, "nested": {"turn": turn}},
        tags=[str(me), str(turn)],
        worth=decimal.Decimal(f"{turn}.25"),
        notes=[Note(words=f"{me}/{turn}/{n}") for n in range(3)],
    )


def mine(me: int, turn: int):
    return select(Person).where(Person.name == f"{me}/{turn}").options(selectinload(Person.notes))


def check(found: Person, me: int, turn: int) -> None:
    assert found.owner == me and found.facts["nested"] == {"turn": turn}, found.facts
    assert found.tags == [str(me), str(turn)] and found.worth == decimal.Decimal(f"{turn}.25")
    assert sorted(note.words for note in found.notes) == [f"{me}/{turn}/{n}" for n in range(3)]


def upserting(me: int):
    statement = upsert(Person).values(name=f"upsert {me}", owner=me, facts={}, tags=[], worth=1)
    return statement.on_conflict_do_update(index_elements=["name"], set_={"worth": Person.worth + 1}).returning(Person.worth)


def synchronous(engine) -> None:
    def life(me: int) -> None:
        for turn in range(TURNS):
            with Session(engine) as session:
                session.add(person(me, turn))
                session.commit()
                check(session.scalars(mine(me, turn)).one(), me, turn)
                assert session.execute(upserting(me)).scalar_one() == turn + 1
                session.commit()
            with Session(engine) as session:
                # A name that is taken: its savepoint is undone, and no more than that.
                try:
                    with session.begin_nested():
                        session.add(Person(name=f"{me}/{turn}", owner=me))
                except IntegrityError as failure:
                    assert failure.orig.sqlstate == "23505", failure
                else:
                    raise AssertionError("a second row of one name was taken")
                assert session.scalar(select(func.count()).select_from(Person).where(Person.owner == me)) == turn + 2
                session.rollback()
            with engine.connect() as connection:
                options = connection.execution_options(stream_results=True, max_row_buffer=50)
                rows = options.execute(text("SELECT generate_series(1, 500), :me"), {"me": me})
                assert [tuple(row) for row in rows] == [(n, me) for n in range(1, 501)]
        with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
            assert connection.scalar(text("SHOW transaction_isolation")) == "serializable"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(insert(Note), [{"words": "many", "person_id": 1}] * 250)
            assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"

    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Person(name="first", owner=-1))
        session.commit()
    together(life, CLIENTS)
    reflected = MetaData()
    reflected.reflect(engine)
    assert set(reflected.tables) == {"person", "note"}, reflected.tables
    assert reflected.tables["person"].c.facts.type.__class__.__name__ == "JSONB"
    assert {index["name"] for index in inspect(engine).get_indexes("person")} >= {"ix_person_owner"}
    Base.metadata.drop_all(engine)
    engine.dispose()


async def asynchronous(engine) -> None:
    async def life(me: int) -> None:
        for turn in range(TURNS):
            async with AsyncSession(engine) as session:
                session.add(person(me, turn))
                await session.commit()
                check((await session.scalars(mine(me, turn))).one(), me, turn)
                assert (await session.execute(upserting(me))).scalar_one() == turn + 1
                await session.commit()
            async with AsyncSession(engine) as session:
                try:
                    async with session.begin_nested():
                        session.add(Person(name=f"{me}/{turn}", owner=me))
                except IntegrityError as failure:
                    assert failure.orig.sqlstate == "23505", failure
                else:
                    raise AssertionError("a second row of one name was taken")
                await session.rollback()
            async with engine.connect() as connection:
                rows = await connection.stream(text("SELECT generate_series(1, 500), CAST(:me AS int)"), {"me": me})
                assert [tuple(row) async for row in rows] == [(n, me) for n in range(1, 501)]
                try:
                    await connection.execute(text("SELECT 1/0"))
                except DBAPIError as failure:
                    assert failure.orig.sqlstate == "22012", failure

    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await asyncio.gather(*(life(me) for me in range(CLIENTS)))
    async with engine.begin() as connection:
        assert await connection.scalar(select(func.count()).select_from(Person)) == CLIENTS * (TURNS + 1)
        # asyncpg has statements prepared that a change of a table outdates: SQLAlchemy asks again by itself.
        await connection.execute(text("ALTER TABLE person ADD COLUMN more int"))
    async with AsyncSession(engine) as session:
        check((await session.scalars(mine(1, 1))).one(), 1, 1)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()


driver = sys.argv[1]
if driver == "psycopg":
    synchronous(create_engine("postgresql+psycopg://"))
    asyncio.run(asynchronous(create_async_engine("postgresql+psycopg://")))
else:
    asyncio.run(asynchronous(create_async_engine("postgresql+asyncpg://")))
print("lived")
