CREATE VIEW pglanes.connections AS
SELECT pglanes.lane_of(a.application_name, a.usename::text, a.datname::text) AS lane,
       count(*) AS connections,
       count(*) FILTER (WHERE a.state = 'active') AS active,
       count(*) FILTER (WHERE a.state = 'idle') AS idle,
       count(*) FILTER (WHERE a.state LIKE 'idle in transaction%') AS idle_in_transaction,
       count(*) FILTER (WHERE a.state = 'active' AND a.wait_event_type = 'Lock') AS waiting_for_locks,
       max(now() - a.xact_start) AS longest_transaction,
       max(now() - a.query_start) FILTER (WHERE a.state = 'active') AS longest_statement,
       round(100.0 * count(*) / current_setting('max_connections')::numeric, 1) AS percent_of_max_connections
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_type = 'client backend'
GROUP BY 1;
COMMENT ON VIEW pglanes.connections IS
    'Server connections by lane. Look for: idle_in_transaction above 0 for long; percent_of_max_connections summing above 80.';

CREATE VIEW pglanes.contention AS
SELECT waiting.pid AS waiting_pid,
       pglanes.lane_of(waiting.application_name, waiting.usename::text, waiting.datname::text) AS waiting_lane,
       waiting.application_name AS waiting_application,
       now() - waiting.query_start AS waiting_for,
       waiting.wait_event_type,
       waiting.wait_event,
       lock.locktype AS lock_type,
       lock.mode AS lock_mode,
       lock.relation::regclass AS lock_table,
       pglanes.statement_class(waiting.query) AS waiting_statement,
       blocking.pid AS blocking_pid,
       pglanes.lane_of(blocking.application_name, blocking.usename::text, blocking.datname::text) AS blocking_lane,
       blocking.application_name AS blocking_application,
       blocking.state AS blocking_state,
       now() - blocking.xact_start AS blocking_transaction_for,
       pglanes.statement_class(blocking.query) AS blocking_statement
FROM pg_catalog.pg_stat_activity waiting
CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(waiting.pid)) AS blocker (pid)
LEFT JOIN pg_catalog.pg_stat_activity blocking ON blocking.pid = blocker.pid
LEFT JOIN LATERAL (
    SELECT l.locktype, l.mode, l.relation
    FROM pg_catalog.pg_locks l
    WHERE l.pid = waiting.pid AND NOT l.granted
      AND (l.database IS NULL OR l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
    LIMIT 1
) lock ON true
WHERE waiting.wait_event_type = 'Lock';
COMMENT ON VIEW pglanes.contention IS
    'Who waits for whom at this moment, by lane. A row whose waiting_lane is protected is what the lanes cannot prevent: a lock. See blocking_state: an idle transaction there is a client to mend.';

CREATE VIEW pglanes.waits AS
SELECT pglanes.lane_of(a.application_name, a.usename::text, a.datname::text) AS lane,
       coalesce(a.wait_event_type, 'CPU') AS waits_for,
       coalesce(a.wait_event, 'running') AS wait_event,
       count(*) AS backends
FROM pg_catalog.pg_stat_activity a
WHERE a.state = 'active' AND a.pid <> pg_catalog.pg_backend_pid()
GROUP BY 1, 2, 3;
COMMENT ON VIEW pglanes.waits IS
    'What running statements wait for at this moment, by lane. CPU with more backends than cores is contention for the processor; IO is for the disk; LWLock for memory structures.';
