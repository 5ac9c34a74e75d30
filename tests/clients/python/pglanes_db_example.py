"""The module of deploy/examples/python: its components are in their lanes by every driver, and what it says may be tried again is
tried again, and nothing else."""

import asyncio
import os
import sys
import threading

sys.path.insert(0, sys.argv[1])

import psycopg
import sqlalchemy
from pglanes_db import Component, may_retry, retry, sqlstate_of

URL = f"postgresql://postgres@127.0.0.1:{os.environ['PGPORT']}/{os.environ['PGDATABASE']}?connect_timeout=60"
WHO = "SELECT current_setting('application_name'), current_setting('work_mem')"

#: Names, and the work_mem of the lanes that they belong to.
LANES = {"ragchecker": "64MB", "ltst": "32MB"}


def component(name: str) -> Component:
    return Component(name, URL)


def the_lane_is_reached_by_psycopg_and_sqlalchemy(name: str) -> None:
    expected = (name, LANES[name])
    with component(name).psycopg_pool() as pool, pool.connection() as connection:
        assert connection.execute(WHO).fetchone() == expected
    engine = component(name).sqlalchemy_engine()
    with engine.connect() as connection:
        assert tuple(connection.execute(sqlalchemy.text(WHO)).one()) == expected
    engine.dispose()


async def the_lane_is_reached_by_asyncio(name: str) -> None:
    expected = (name, LANES[name])
    async with component(name).psycopg_async_pool() as pool, pool.connection() as connection:
        cursor = await connection.execute(WHO)
        assert await cursor.fetchone() == expected
    async with component(name).asyncpg_pool() as pool:
        assert tuple(await pool.fetchrow(WHO)) == expected
    engine = component(name).sqlalchemy_async_engine()
    async with engine.connect() as connection:
        assert tuple((await connection.execute(sqlalchemy.text(WHO))).one()) == expected
    await engine.dispose()


def tried(work, **options) -> list[str | None]:
    """The SQLSTATEs of the attempts that failed, the last of which may have been given up on; `None` ends them where one
    succeeded. `work` is told which attempt it is."""
    seen: list[str | None] = []

    @retry(first=0.001, longest=0.01, **options)
    def attempt() -> None:
        try:
            work(len(seen))
        except Exception as error:
            seen.append(sqlstate_of(error))
            raise

    try:
        attempt()
    except Exception:
        return seen
    return [*seen, None]


def gets_through_after(state: str, attempts: list[str | None]) -> None:
    """On a slow machine it may take more than one attempt."""
    *failed, last = attempts
    assert last is None and set(failed) == {state}, attempts


def a_full_lane_and_a_wait_too_long_are_tried_again(name: str, state: str) -> None:
    """The lane has one slot, which somebody has until the first attempt has failed."""
    with psycopg.connect(component("holder-" + name).dsn()) as holder:
        holder.execute("SELECT 1")

        def work(number: int) -> None:
            if number == 1:
                holder.rollback()
            with psycopg.connect(component(name).dsn()) as connection:
                connection.execute("SELECT 1")

        gets_through_after(state, tried(work))


def what_pglanes_cancels_is_tried_again_and_what_the_server_cancels_is_not() -> None:
    def runs_away(number: int) -> None:
        with psycopg.connect(component("ruled").dsn()) as connection:
            connection.execute("SELECT pg_sleep(%s)", [120 if number == 0 else 0])

    gets_through_after("57014", tried(runs_away))

    def takes_too_long(_: int) -> None:
        with psycopg.connect(component("ltst").dsn()) as connection:
            connection.execute("SET LOCAL statement_timeout = '20ms'")
            connection.execute("SELECT pg_sleep(120)")

    assert tried(takes_too_long) == ["57014"]


def a_lock_timeout_and_a_serialization_failure_are_tried_again() -> None:
    with psycopg.connect(component("ragchecker").dsn()) as other:
        other.execute("UPDATE counts SET n = n + 1 WHERE id = 1")

        def meets_a_lock(number: int) -> None:
            if number == 1:
                other.rollback()
            with psycopg.connect(component("ltst").dsn()) as connection:
                connection.execute("SET LOCAL lock_timeout = '20ms'")
                connection.execute("UPDATE counts SET n = n + 1 WHERE id = 1")

        assert tried(meets_a_lock) == ["55P03", None]

        def meets_a_change(number: int) -> None:
            with psycopg.connect(component("ltst").dsn()) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.execute("SELECT * FROM counts")
                if number == 0:
                    other.execute("UPDATE counts SET n = n + 1 WHERE id = 1")
                    other.commit()
                connection.execute("UPDATE counts SET n = n + 1 WHERE id = 1")

        assert tried(meets_a_change) == ["40001", None]


def a_deadlock_is_tried_again_and_both_get_through() -> None:
    met = threading.Barrier(2)
    results: dict[int, list[str | None]] = {}

    def life(me: int) -> None:
        def work(number: int) -> None:
            with psycopg.connect(component("ltst").dsn()) as connection:
                connection.execute("UPDATE counts SET n = n + 1 WHERE id = %s", [me])
                if number == 0:
                    met.wait(timeout=120)
                connection.execute("UPDATE counts SET n = n + 1 WHERE id = %s", [3 - me])

        results[me] = tried(work)

    threads = [threading.Thread(target=life, args=(me,)) for me in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # On a busy machine who tries again may meet the other once more.
    lost = [code for codes in results.values() for code in codes[:-1]]
    assert lost and set(lost) == {"40P01"}, results
    assert [codes[-1] for codes in results.values()] == [None, None], results


def a_lost_connection_is_tried_again_only_where_that_is_asked_for() -> None:
    def work(number: int) -> None:
        with psycopg.connect(component("ltst").dsn()) as connection:
            if number == 0:
                connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    assert tried(work) == ["57P01"]
    assert tried(work, idempotent=True) == ["57P01", None]


def other_errors_are_not_tried_again() -> None:
    def wrong(_: int) -> None:
        with psycopg.connect(component("ltst").dsn()) as connection:
            connection.execute("SELECT 1 / 0")

    assert tried(wrong) == ["22012"]

    def refuses(_: int) -> None:
        with psycopg.connect(component("ltst").dsn()) as connection:
            connection.execute("DO $$ BEGIN RAISE 'starting' USING ERRCODE = '57P03'; END $$")

    assert tried(refuses, tries=3) == ["57P03"] * 3, "as often as it may, and no more"


async def asynchronous_functions_are_tried_again_by_the_other_drivers() -> None:
    serialization = "DO $$ BEGIN RAISE 'once more' USING ERRCODE = '40001'; END $$"
    attempts = []

    async with component("ltst").asyncpg_pool() as pool:

        @retry(first=0.001)
        async def by_asyncpg() -> int:
            attempts.append("asyncpg")
            async with pool.acquire() as connection:
                if len(attempts) < 3:
                    await connection.execute(serialization)
                return await connection.fetchval("SELECT 7")

        assert await by_asyncpg() == 7 and len(attempts) == 3

    engine = component("ltst").sqlalchemy_async_engine()
    attempts.clear()

    @retry(first=0.001)
    async def by_sqlalchemy() -> int:
        attempts.append("sqlalchemy")
        async with engine.begin() as connection:
            if len(attempts) < 3:
                await connection.execute(sqlalchemy.text(serialization))
            return (await connection.execute(sqlalchemy.text("SELECT 7"))).scalar_one()

    assert await by_sqlalchemy() == 7 and len(attempts) == 3
    await engine.dispose()


async def asynchronous() -> None:
    for name in LANES:
        await the_lane_is_reached_by_asyncio(name)
    await asynchronous_functions_are_tried_again_by_the_other_drivers()


def main() -> None:
    with psycopg.connect(component("setup").dsn()) as connection:
        connection.execute("CREATE TABLE counts (id int PRIMARY KEY, n int)")
        connection.execute("INSERT INTO counts VALUES (1, 0), (2, 0)")
    for name in LANES:
        the_lane_is_reached_by_psycopg_and_sqlalchemy(name)
    a_full_lane_and_a_wait_too_long_are_tried_again("full", "53300")
    a_full_lane_and_a_wait_too_long_are_tried_again("slow", "57014")
    what_pglanes_cancels_is_tried_again_and_what_the_server_cancels_is_not()
    a_lock_timeout_and_a_serialization_failure_are_tried_again()
    a_deadlock_is_tried_again_and_both_get_through()
    a_lost_connection_is_tried_again_only_where_that_is_asked_for()
    other_errors_are_not_tried_again()
    asyncio.run(asynchronous())
    assert not may_retry(ValueError("lane ")), "an error that is no database's"


main()
print("lived")
