/*
 * libpq by hand, the calls that its wrappers hide: pipelines with an error in the middle, several Syncs, Flush without a Sync,
 * single-row mode inside a pipeline, prepared statements and portals described, COPY, and a cancel. Processes side by side, more than
 * there are server connections.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

enum { CLIENTS = 8, TURNS = 20, DEPTH = 50 };

static PGconn *conn;
static int me;

static void check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "client %d: %s: %s\n", me, what, PQerrorMessage(conn));
        exit(1);
    }
}

static PGconn *connected(void)
{
    /* Place and user come from the environment. */
    PGconn *made = PQconnectdb("");
    conn = made;
    check(PQstatus(made) == CONNECTION_OK, "no connection");
    return made;
}

static void send(const char *sql, int a, int b)
{
    char first[16], second[16];
    const char *values[] = {first, second};
    snprintf(first, sizeof first, "%d", a);
    snprintf(second, sizeof second, "%d", b);
    check(PQsendQueryParams(conn, sql, 2, NULL, values, NULL, NULL, 0), "not sent");
}

static void expect(ExecStatusType status, const char *what)
{
    PGresult *result = PQgetResult(conn);
    check(result != NULL && PQresultStatus(result) == status, what);
    PQclear(result);
}

static void expect_value(int value, const char *what)
{
    PGresult *result = PQgetResult(conn);
    check(result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK, what);
    check(PQntuples(result) == 1 && atoi(PQgetvalue(result, 0, 0)) == value, what);
    PQclear(result);
    check(PQgetResult(conn) == NULL, "more than one result");
}

/* Many statements, one Sync. */
static void deep(int turn)
{
    for (int n = 0; n < DEPTH; n++)
        send("SELECT $1::int * 1000 + $2::int", me, turn + n);
    check(PQpipelineSync(conn), "no sync");
    for (int n = 0; n < DEPTH; n++)
        expect_value(me * 1000 + turn + n, "a sum of mine");
    expect(PGRES_PIPELINE_SYNC, "the sync");
}

/* An error skips what follows, to its Sync and no further. */
static void broken(int turn)
{
    send("SELECT $1::int + $2::int", me, turn);
    check(PQpipelineSync(conn), "no sync");
    send("SELECT $1::int / ($2::int - $2::int)", me, turn);
    send("SELECT $1::int + $2::int", me, turn);
    check(PQpipelineSync(conn), "no sync");
    send("SELECT $1::int - $2::int", me, turn);
    check(PQpipelineSync(conn), "no sync");
    expect_value(me + turn, "before the error");
    expect(PGRES_PIPELINE_SYNC, "the first sync");
    PGresult *error = PQgetResult(conn);
    check(PQresultStatus(error) == PGRES_FATAL_ERROR, "the error");
    check(strcmp(PQresultErrorField(error, PG_DIAG_SQLSTATE), "22012") == 0, "its SQLSTATE");
    PQclear(error);
    check(PQgetResult(conn) == NULL, "behind the error");
    expect(PGRES_PIPELINE_ABORTED, "what was skipped");
    check(PQgetResult(conn) == NULL, "behind what was skipped");
    expect(PGRES_PIPELINE_SYNC, "the second sync");
    expect_value(me - turn, "behind the error");
    expect(PGRES_PIPELINE_SYNC, "the third sync");
}

/* Answers asked for by Flush, with the Sync still to come. */
static void flushed(int turn)
{
    send("SELECT $1::int + $2::int", me, turn);
    check(PQsendFlushRequest(conn) && PQflush(conn) == 0, "no flush");
    expect_value(me + turn, "a flushed answer");
    send("SELECT $1::int - $2::int", me, turn);
    check(PQpipelineSync(conn), "no sync");
    expect_value(me - turn, "behind it");
    expect(PGRES_PIPELINE_SYNC, "the sync");
}

/* A transaction of several statements, prepared ones among them, row by row. */
static void transaction(int turn)
{
    char name[32], sql[96];
    const char *values[] = {"40"};
    snprintf(name, sizeof name, "mine%d", turn % 3);
    snprintf(sql, sizeof sql, "SELECT n, %d FROM generate_series(1, $1::int) n", me);
    check(PQsendQueryParams(conn, "BEGIN", 0, NULL, NULL, NULL, NULL, 0), "not sent");
    if (turn < 3)
        check(PQsendPrepare(conn, name, sql, 0, NULL), "not sent");
    check(PQsendQueryPrepared(conn, name, 1, values, NULL, NULL, 0), "not sent");
    check(PQsendQueryParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0), "not sent");
    check(PQpipelineSync(conn), "no sync");
    expect(PGRES_COMMAND_OK, "BEGIN");
    check(PQgetResult(conn) == NULL, "behind BEGIN");
    if (turn < 3) {
        expect(PGRES_COMMAND_OK, "the preparation");
        check(PQgetResult(conn) == NULL, "behind it");
    }
    check(PQsetSingleRowMode(conn), "no single rows");
    for (int n = 1; n <= 40; n++) {
        PGresult *row = PQgetResult(conn);
        check(PQresultStatus(row) == PGRES_SINGLE_TUPLE, "a row");
        check(atoi(PQgetvalue(row, 0, 0)) == n && atoi(PQgetvalue(row, 0, 1)) == me, "a row of mine");
        PQclear(row);
    }
    expect(PGRES_TUPLES_OK, "the end of the rows");
    check(PQgetResult(conn) == NULL, "behind the rows");
    expect(PGRES_COMMAND_OK, "COMMIT");
    check(PQgetResult(conn) == NULL, "behind COMMIT");
    expect(PGRES_PIPELINE_SYNC, "the sync");
}

static void copies(void)
{
    char sql[96], line[64];
    snprintf(sql, sizeof sql, "CREATE TABLE copied%d (n int, owner int)", me);
    PQclear(PQexec(conn, sql));
    snprintf(sql, sizeof sql, "COPY copied%d FROM STDIN", me);
    PGresult *result = PQexec(conn, sql);
    check(PQresultStatus(result) == PGRES_COPY_IN, "COPY in");
    PQclear(result);
    for (int n = 0; n < 500; n++) {
        int length = snprintf(line, sizeof line, "%d\t%d\n", n, me);
        check(PQputCopyData(conn, line, length) == 1, "a line");
    }
    check(PQputCopyEnd(conn, NULL) == 1, "the end of COPY");
    expect(PGRES_COMMAND_OK, "COPY");
    check(PQgetResult(conn) == NULL, "behind COPY");
    snprintf(sql, sizeof sql, "COPY (SELECT * FROM copied%d ORDER BY n) TO STDOUT", me);
    result = PQexec(conn, sql);
    check(PQresultStatus(result) == PGRES_COPY_OUT, "COPY out");
    PQclear(result);
    char *copied;
    int lines = 0;
    while (PQgetCopyData(conn, &copied, 0) > 0) {
        snprintf(line, sizeof line, "%d\t%d\n", lines++, me);
        check(strcmp(copied, line) == 0, "a line of mine");
        PQfreemem(copied);
    }
    check(lines == 500, "all lines");
    expect(PGRES_COMMAND_OK, "COPY out");
    check(PQgetResult(conn) == NULL, "behind COPY out");
}

static void cancels(void)
{
    char why[256];
    PGcancel *cancel = PQgetCancel(conn);
    check(PQsendQuery(conn, "SELECT pg_sleep(60)"), "not sent");
    struct timespec moment = {0, 100 * 1000 * 1000};
    nanosleep(&moment, NULL);
    check(PQcancel(cancel, why, sizeof why), why);
    PQfreeCancel(cancel);
    PGresult *result = PQgetResult(conn);
    check(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014") == 0, "a cancelled query");
    PQclear(result);
    check(PQgetResult(conn) == NULL, "behind it");
}

static void life(void)
{
    connected();
    check(PQenterPipelineMode(conn), "no pipeline");
    for (int turn = 0; turn < TURNS; turn++) {
        deep(turn);
        broken(turn);
        flushed(turn);
        transaction(turn);
    }
    check(PQexitPipelineMode(conn), "no way out of the pipeline");
    PGresult *described = PQdescribePrepared(conn, "mine1");
    check(PQresultStatus(described) == PGRES_COMMAND_OK && PQnparams(described) == 1, "a prepared statement");
    PQclear(described);
    copies();
    cancels();
    PQfinish(conn);
}

int main(void)
{
    pid_t children[CLIENTS];
    for (me = 0; me < CLIENTS; me++) {
        children[me] = fork();
        if (children[me] == 0) {
            life();
            return 0;
        }
    }
    int failed = 0;
    for (int n = 0; n < CLIENTS; n++) {
        int status;
        waitpid(children[n], &status, 0);
        failed += status != 0;
    }
    if (failed) {
        fprintf(stderr, "%d clients failed\n", failed);
        return 1;
    }
    printf("libpq %d\nlived\n", PQlibVersion());
    return 0;
}
