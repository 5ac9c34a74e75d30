"""asyncpg with its defaults: a pool that resets on release, cached statements, introspection, cursors, COPY, listeners."""

import asyncio

import asyncpg

CLIENTS = 12


async def life(pool: asyncpg.Pool, me: int) -> None:
    for n in range(15):
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT $1::int + $2::int", me, n) == me + n
            await connection.execute(f"SET work_mem = '{me + 1}MB'")
            assert await connection.fetchval("SHOW work_mem") == f"{me + 1}MB"
        async with pool.acquire() as connection:
            # Whoever had it before: its release reset everything.
            assert await connection.fetchval("SHOW work_mem") == "4MB"
            async with connection.transaction():
                rows = [row[0] async for row in connection.cursor("SELECT generate_series(1, 120)")]
                assert rows == list(range(1, 121))
                mood = await connection.fetchval("SELECT ARRAY['good', 'bad']::mood[]")
                assert mood == ["good", "bad"]
            statement = await connection.prepare("SELECT $1::text || $2::text")
            assert await statement.fetchval("a", str(me)) == f"a{me}"
            await connection.executemany("INSERT INTO log VALUES ($1, $2)", [(me, k) for k in range(10)])


async def changes_a_table(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)")
        assert len(await connection.fetchrow("SELECT * FROM changing")) == 1
        await connection.execute("ALTER TABLE changing ADD COLUMN b int")
        assert len(await connection.fetchrow("SELECT * FROM changing")) == 2


async def copies(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        records = [(n, n) for n in range(2000)]
        await connection.copy_records_to_table("log", records=records)
        out = bytearray()

        async def write(data: bytes) -> None:
            out.extend(data)

        await connection.copy_from_query("SELECT * FROM log WHERE tag = 1999", output=write)
        assert out == b"1999\t1999\n", out


async def types(pool: asyncpg.Pool, me: int) -> None:
    """Types of the database's own, which asyncpg asks the catalogue about, with settings of its own meanwhile."""
    async with pool.acquire() as connection:
        await connection.execute(f"CREATE TYPE pair{me} AS (a int, b text); CREATE DOMAIN short{me} AS varchar(9)")
        row = await connection.fetchrow(f"SELECT (1, 'x')::pair{me} AS p, ARRAY[(2, 'y')]::pair{me}[] AS ps, 'z'::short{me} AS d")
        assert tuple(row["p"]) == (1, "x") and tuple(row["ps"][0]) == (2, "y") and row["d"] == "z", row
        await connection.set_type_codec("jsonb", encoder=str, decoder=lambda text: ("decoded", text), schema="pg_catalog")
        assert await connection.fetchval("SELECT '1'::jsonb") == ("decoded", "1")
        await connection.reset_type_codec("jsonb", schema="pg_catalog")
        span = await connection.fetchval("SELECT '[2024-01-01, 2024-02-01)'::daterange")
        assert span.upper.month == 2, span


async def leaves_state(pool: asyncpg.Pool, me: int) -> None:
    """What a release has to undo: a lock, a held cursor, a setting."""
    for _ in range(10):
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", me)
            await connection.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
            await connection.execute("SET search_path = nowhere")
        async with pool.acquire() as connection:
            # It would be this one's already, or somebody else's for ever.
            assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", me)
            assert await connection.fetchval("SELECT pg_advisory_unlock($1)", me)
            assert not await connection.fetchval("SELECT pg_advisory_unlock($1)", me)
            assert await connection.fetchval("SHOW search_path") == '"$user", public'


async def listens(pool: asyncpg.Pool) -> None:
    heard = asyncio.get_running_loop().create_future()
    async with pool.acquire() as listener:
        def hear(_connection, _pid, _channel, payload) -> None:
            if not heard.done():
                heard.set_result(payload)

        await listener.add_listener("here", hear)
        await pool.execute("SELECT pg_notify('here', 'hello')")
        assert await asyncio.wait_for(heard, 10) == "hello"
        await listener.remove_listener("here", hear)


async def main() -> None:
    async with asyncpg.create_pool(min_size=2, max_size=8) as pool:
        await pool.execute("CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE log (tag int, n int)")
        await asyncio.gather(*(life(pool, me) for me in range(CLIENTS)))
        assert await pool.fetchval("SELECT count(*) FROM log") == CLIENTS * 15 * 10
        await asyncio.gather(*(types(pool, me) for me in range(CLIENTS)))
        await asyncio.gather(*(leaves_state(pool, me) for me in range(CLIENTS)))
        await changes_a_table(pool)
        await copies(pool)
        await listens(pool)
    print("lived")


asyncio.run(main())
