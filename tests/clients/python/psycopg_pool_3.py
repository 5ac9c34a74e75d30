"""psycopg_pool with its defaults: a pool of threads and one of tasks, more connections than there are server connections, with a check of
each before it is lent."""

import asyncio

from psycopg_pool import AsyncConnectionPool, ConnectionPool

from together import together

CLIENTS = 12
TURNS = 25


def threads() -> None:
    with ConnectionPool(min_size=2, max_size=8, check=ConnectionPool.check_connection) as pool:
        def life(me: int) -> None:
            for turn in range(TURNS):
                with pool.connection() as connection:
                    connection.execute("SELECT set_config('pool.me', %s, true)", (str(me),))
                    row = connection.execute("SELECT current_setting('pool.me'), %s::int", (turn,)).fetchone()
                    assert row == (str(me), turn), row
                with pool.connection() as connection, connection.cursor(name=f"c{me}") as cursor:
                    cursor.execute("SELECT generate_series(1, 150), %s::int", (me,))
                    assert cursor.fetchall() == [(n, me) for n in range(1, 151)]

        together(life, CLIENTS)


async def tasks() -> None:
    async with AsyncConnectionPool(min_size=2, max_size=8, open=False, check=AsyncConnectionPool.check_connection) as pool:
        async def life(me: int) -> None:
            for turn in range(TURNS):
                async with pool.connection() as connection, connection.pipeline():
                    cursors = [await connection.execute("SELECT %s::int, %s::int", (me, turn + n)) for n in range(10)]
                    rows = [await cursor.fetchone() for cursor in cursors]
                    assert rows == [(me, turn + n) for n in range(10)], rows

        await asyncio.gather(*(life(me) for me in range(CLIENTS)))


threads()
asyncio.run(tasks())
print("lived")
