"""psycopg 3 with its defaults: autoprepared statements, pipelines, cursors, COPY, LISTEN; threads and asyncio."""

import asyncio

import psycopg

from together import together

CLIENTS = 8
MORE_THAN_A_CONNECTION_KEEPS = 520


def prepares(me: int) -> None:
    """Every statement is prepared at once; more of them than the driver and the proxy keep."""
    with psycopg.connect(f"application_name=psycopg{me}", autocommit=True, prepare_threshold=0) as connection:
        for _ in range(2):
            for n in range(MORE_THAN_A_CONNECTION_KEEPS // CLIENTS * (me % 2 + 1)):
                row = connection.execute(f"SELECT %s::int + {n}, %s::text", (me, "x")).fetchone()
                assert row == (me + n, "x"), row
        assert connection.execute("SHOW application_name").fetchone() == (f"psycopg{me}",)


def autoprepares(me: int) -> None:
    """The default: prepared from the fifth execution on, in transactions."""
    with psycopg.connect() as connection:
        for n in range(40):
            with connection.transaction():
                assert connection.execute("SELECT %s::int * %s::int", (me, n)).fetchone() == (me * n,)
        connection.rollback()


def keeps_more_than_500() -> None:
    with psycopg.connect(autocommit=True, prepare_threshold=0) as connection:
        connection.prepared_max = 1000
        for _ in range(2):
            for n in range(MORE_THAN_A_CONNECTION_KEEPS):
                assert connection.execute(f"SELECT {n}").fetchone() == (n,)
        connection.prepared_max = 3
        for n in range(20):
            assert connection.execute(f"SELECT -{n}").fetchone() == (-n,)
        connection.execute("DEALLOCATE ALL")


def pipelines(me: int) -> None:
    with psycopg.connect(autocommit=True, prepare_threshold=1) as connection:
        for turn in range(10):
            with connection.pipeline() as pipeline:
                cursors = [connection.execute("SELECT %s::int + %s::int", (me, n)) for n in range(20)]
                pipeline.sync()
                assert [cursor.fetchone()[0] for cursor in cursors] == [me + n for n in range(20)]
            try:
                with connection.pipeline():
                    connection.execute("SELECT 1")
                    connection.execute("SELECT 1/0")
                    connection.execute("SELECT 2")
            except psycopg.errors.DivisionByZero:
                pass
            else:
                raise AssertionError("an error in a pipeline was lost")
            assert connection.execute("SELECT %s::int", (turn,)).fetchone() == (turn,)


def cursors_and_copy(me: int) -> None:
    with psycopg.connect() as connection:
        with connection.cursor(name="named") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT generate_series(1, 50)")
            assert [row[0] for row in cursor] == list(range(1, 51))
        connection.commit()
        with connection.cursor(name="held", withhold=True) as cursor:
            cursor.execute("SELECT generate_series(1, 50)")
            connection.commit()
            assert len(cursor.fetchall()) == 50
        connection.commit()
        connection.execute(f"CREATE TABLE copied{me} (a int, b text)")
        with connection.cursor().copy(f"COPY copied{me} FROM STDIN") as copy:
            for n in range(300):
                copy.write_row((n, f"row {n}"))
        with connection.cursor().copy(f"COPY copied{me} TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 300
        try:
            with connection.cursor().copy(f"COPY copied{me} FROM STDIN") as copy:
                copy.write("x\ty\n")
        except psycopg.errors.InvalidTextRepresentation:
            connection.rollback()
        else:
            raise AssertionError("a broken COPY was taken")


def listens() -> None:
    with psycopg.connect(autocommit=True) as listener, psycopg.connect(autocommit=True) as other:
        listener.execute("LISTEN here")
        other.execute("NOTIFY here, 'hello'")
        heard = list(listener.notifies(timeout=10, stop_after=1))
        assert [notification.payload for notification in heard] == ["hello"]
        listener.execute("UNLISTEN *")


async def asynchronously() -> None:
    async def one(me: int) -> None:
        async with await psycopg.AsyncConnection.connect(autocommit=True) as connection:
            for n in range(30):
                cursor = await connection.execute("SELECT %s::int, %s::int", (me, n))
                assert await cursor.fetchone() == (me, n)
        async with await psycopg.AsyncConnection.connect() as connection:
            async with connection.cursor(name="named") as cursor:
                await cursor.execute("SELECT generate_series(1, 250), %s::int", (me,))
                assert [row async for row in cursor] == [(n, me) for n in range(1, 251)]
            async with connection.pipeline():
                cursors = [await connection.execute("SELECT %s::int * %s::int", (me, n)) for n in range(20)]
                assert [(await cursor.fetchone())[0] for cursor in cursors] == [me * n for n in range(20)]
            async with connection.cursor().copy("COPY noted FROM STDIN") as copy:
                for n in range(100):
                    await copy.write_row((n, f"async {me}"))
            copied = "SELECT a FROM noted WHERE b = %s ORDER BY a"
            async with connection.cursor().copy(f"COPY ({copied}) TO STDOUT", (f"async {me}",)) as copy:
                copy.set_types(["int4"])
                assert [row[0] async for row in copy.rows()] == list(range(100))
            try:
                await connection.execute("SELECT 1/0")
            except psycopg.errors.DivisionByZero:
                await connection.rollback()

    async with await psycopg.AsyncConnection.connect(autocommit=True) as connection:
        await connection.execute("CREATE TABLE noted (a int, b text)")
    await asyncio.gather(*(one(me) for me in range(CLIENTS)))


for work in (prepares, autoprepares, pipelines, cursors_and_copy):
    together(work, CLIENTS)
keeps_more_than_500()
listens()
asyncio.run(asynchronously())
print("lived")
