"""The two components side by side: DATABASE_URL=postgresql://me@localhost:6433/ai_agency python example.py"""

import asyncio

from pglanes_db import Component, retry

ltst = Component("ltst")
evaluation = Component("ragchecker")


@retry()
def settings_of_the_evaluation(pool) -> tuple[str, str]:
    with pool.connection() as connection:
        return connection.execute(
            "SELECT current_setting('application_name'), current_setting('work_mem')"
        ).fetchone()


@retry()
async def settings_of_the_memory_system(pool) -> tuple[str, str]:
    async with pool.acquire() as connection:
        return tuple(
            await connection.fetchrow("SELECT current_setting('application_name'), current_setting('work_mem')")
        )


async def main() -> None:
    with evaluation.psycopg_pool() as pool:
        print("evaluation:", *settings_of_the_evaluation(pool))
    async with ltst.asyncpg_pool() as pool:
        print("memory system:", *await settings_of_the_memory_system(pool))


if __name__ == "__main__":
    asyncio.run(main())
