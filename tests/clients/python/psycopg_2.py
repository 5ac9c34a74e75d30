"""psycopg2 with its defaults, on libpq: transactions, server-side cursors, COPY, settings, its own reset."""

import io

import psycopg2
import psycopg2.extras

from together import together

CLIENTS = 8


def life(me: int) -> None:
    connection = psycopg2.connect(application_name=f"psycopg{me}")
    for n in range(20):
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT %s, %s", (me, n))
            assert cursor.fetchone() == (me, n)
    with connection, connection.cursor(name="named") as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        assert sum(1 for _ in cursor) == 5000
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE copied{me} (a int, b text)")
        cursor.copy_expert(f"COPY copied{me} FROM STDIN", io.StringIO("".join(f"{n}\tx\n" for n in range(500))))
        out = io.StringIO()
        cursor.copy_expert(f"COPY copied{me} TO STDOUT", out)
        assert out.getvalue().count("\n") == 500
        psycopg2.extras.execute_values(cursor, f"INSERT INTO copied{me} VALUES %s", [(n, "y") for n in range(500)])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")
    except psycopg2.errors.DivisionByZero:
        pass
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("serializable",)
    connection.reset()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path = nowhere{me}")
        for _ in range(10):
            cursor.execute("SHOW search_path")
            assert cursor.fetchone() == (f"nowhere{me}",)
    connection.close()


together(life, CLIENTS)
print("lived")
