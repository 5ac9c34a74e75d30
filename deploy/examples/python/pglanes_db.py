"""Connections to PostgreSQL through pglanes, for the components of one application.

Each component says who it is, by its application_name; that is what puts it in its lane. Everything else is an ordinary
connection: psycopg 3, asyncpg or SQLAlchemy, whichever is installed.

    from pglanes_db import Component, retry

    ltst = Component("ltst")
    evaluation = Component("ragchecker")

    with ltst.psycopg_pool() as pool, pool.connection() as connection:
        connection.execute("SELECT 1")

    @retry()
    def save(result): ...

Where to connect is one environment variable, DATABASE_URL, such as postgresql://me@localhost:6433/ai_agency.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import random
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

DEFAULT_URL = "postgresql://localhost:6433/ai_agency"

#: What a transaction may simply be tried again for. Nothing of it has taken effect.
#: 53300 the lane's queue is full; 40001 a slot was taken back for a lane with the right to it (or a serialization failure);
#: 40P01 deadlock; 55P03 a lock_timeout; 57P03 the server is starting.
RETRY = frozenset({"53300", "40001", "40P01", "55P03", "57P03"})
#: A cancelled statement. Only when it was pglanes that did it (a throttle, a rule, a wait in the queue): a person's Ctrl-C and
#: the lane's own statement_timeout are not to be tried again.
CANCELLED = "57014"
#: The connection is gone. Tried again only where that is asked for: the last COMMIT may have taken effect.
GONE = frozenset({"57P01", "57P02", "08000", "08003", "08006"})


@dataclass(frozen=True)
class Component:
    """One part of the application, under the name that its lane's rule looks for."""

    application_name: str
    url: str = field(default_factory=lambda: os.environ.get("DATABASE_URL", DEFAULT_URL), repr=False)

    def dsn(self, driver: str | None = None) -> str:
        """The URL with the application_name in it; `driver` for SQLAlchemy, such as "psycopg"."""
        parts = urlsplit(self.url)
        query = [(key, value) for key, value in parse_qsl(parts.query) if key != "application_name"]
        query.append(("application_name", self.application_name))
        scheme = "postgresql" if driver is None else f"postgresql+{driver}"
        return urlunsplit((scheme, parts.netloc, parts.path, urlencode(query, quote_via=quote), ""))

    def psycopg_pool(self, *, size: int = 4, **options):
        """A pool of psycopg 3 (`pip install psycopg[binary,pool]`); a context manager. A few connections are enough: pglanes
        gives each of them a server connection only while it has a transaction."""
        from psycopg_pool import ConnectionPool

        return ConnectionPool(self.dsn(), min_size=1, max_size=size, **options)

    def psycopg_async_pool(self, *, size: int = 4, **options):
        """The same for asyncio; open it with `async with`."""
        from psycopg_pool import AsyncConnectionPool

        return AsyncConnectionPool(self.dsn(), min_size=1, max_size=size, open=False, **options)

    def _asyncpg(self, options: dict) -> tuple[str, dict]:
        """The URL and the arguments for asyncpg: what it does not know in a URL it would send to the server as a setting."""
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query))
        query.pop("application_name", None)
        if "connect_timeout" in query:
            options = {"timeout": float(query.pop("connect_timeout")), **options}
        settings = {"application_name": self.application_name, **options.pop("server_settings", {})}
        dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query, quote_via=quote), ""))
        return dsn, {**options, "server_settings": settings}

    def asyncpg_pool(self, *, size: int = 4, **options):
        """A pool of asyncpg; open it with `async with`. Its statement cache works through pglanes as it is."""
        import asyncpg

        dsn, options = self._asyncpg(dict(options))
        return asyncpg.create_pool(dsn, min_size=1, max_size=size, **options)

    def sqlalchemy_engine(self, *, size: int = 4, **options):
        """An engine of SQLAlchemy 2 over psycopg 3."""
        from sqlalchemy import create_engine

        return create_engine(self.dsn("psycopg"), pool_size=size, max_overflow=0, pool_pre_ping=True, **options)

    def sqlalchemy_async_engine(self, *, size: int = 4, **options):
        """An asyncio engine of SQLAlchemy 2 over asyncpg."""
        import asyncpg
        from sqlalchemy.ext.asyncio import create_async_engine

        dsn, arguments = self._asyncpg({})
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: asyncpg.connect(dsn, **arguments),
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=True,
            **options,
        )


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of an error of psycopg, asyncpg or SQLAlchemy (which wraps theirs)."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str):
            return state
        error = getattr(error, "orig", None) or error.__cause__
    return None


def may_retry(error: BaseException, *, idempotent: bool = False) -> bool:
    """Whether the transaction that ended so may be tried again from its beginning."""
    state = sqlstate_of(error)
    if state in RETRY:
        return True
    if state == CANCELLED:
        # pglanes says which lane; PostgreSQL's own words name none.
        return "lane " in str(error) or "throttle " in str(error)
    return idempotent and state in GONE


def retry(*, tries: int = 5, first: float = 0.05, longest: float = 5.0, idempotent: bool = False):
    """Tries a function again that does one whole transaction: with pauses that double, and are spread at random so that all
    who were turned away do not come back at once. For ordinary and for async functions."""

    def pause(number: int) -> float:
        return random.uniform(0.5, 1.0) * min(longest, first * 2**number)

    def decorate(function):
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def repeat_async(*arguments, **options):
                for number in range(tries):
                    try:
                        return await function(*arguments, **options)
                    except Exception as error:
                        if number + 1 == tries or not may_retry(error, idempotent=idempotent):
                            raise
                    await asyncio.sleep(pause(number))

            return repeat_async

        @functools.wraps(function)
        def repeat(*arguments, **options):
            for number in range(tries):
                try:
                    return function(*arguments, **options)
                except Exception as error:
                    if number + 1 == tries or not may_retry(error, idempotent=idempotent):
                        raise
                time.sleep(pause(number))

        return repeat

    return decorate
