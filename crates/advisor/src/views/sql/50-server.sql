CREATE VIEW pglanes.checkpoints AS
-- if 17+
SELECT num_timed AS by_time, num_requested AS by_request,
       round((write_time / 1000)::numeric, 1) AS seconds_writing, round((sync_time / 1000)::numeric, 1) AS seconds_syncing,
       buffers_written AS buffers, stats_reset AS since
FROM pg_catalog.pg_stat_checkpointer;
-- else
SELECT checkpoints_timed AS by_time, checkpoints_req AS by_request,
       round((checkpoint_write_time / 1000)::numeric, 1) AS seconds_writing, round((checkpoint_sync_time / 1000)::numeric, 1) AS seconds_syncing,
       buffers_checkpoint AS buffers, stats_reset AS since
FROM pg_catalog.pg_stat_bgwriter;
-- end
COMMENT ON VIEW pglanes.checkpoints IS
    'Checkpoints since the statistics were reset. by_request well above by_time: max_wal_size is too small, and an evaluation meets full-page writes.';

CREATE VIEW pglanes.early_warnings AS
SELECT warning.severity, warning.sign, warning.measure, warning.what_to_do
FROM (
    SELECT 1 AS rank, 'critical' AS severity, 'a vector index cannot be used' AS sign,
           format('%I.%I', v.schema, v.index_name) AS measure,
           'DROP INDEX CONCURRENTLY it and build it again: searches scan the table meanwhile' AS what_to_do
    FROM pglanes.vector_indexes v WHERE NOT v.usable AND v.build_phase IS NULL
    UNION ALL
    SELECT 2, 'warning', 'a vector index no longer stays in memory',
           format('%s: %s %% of reads from the cache, %s %% of shared_buffers', v.index_name, v.cache_hit_percent, v.percent_of_shared_buffers),
           'raise shared_buffers (pglanes tune), or make the index smaller (halfvec)'
    FROM pglanes.vector_indexes v WHERE v.cache_hit_percent < 99 AND v.blocks_read > 10000
    UNION ALL
    SELECT 1, 'critical', 'a lane waits for a lock of another',
           format('%s waits for %s since %s', c.waiting_lane, c.blocking_lane, date_trunc('second', c.waiting_for)),
           'SELECT * FROM pglanes.contention; end the blocking transaction if it is idle, and give its lane an idle_in_transaction_session_timeout'
    FROM pglanes.contention c WHERE c.waiting_for > interval '1 second' AND c.waiting_lane IS DISTINCT FROM c.blocking_lane
    UNION ALL
    SELECT 2, 'warning', 'transactions stand idle',
           format('%s in %s, the longest for %s', c.idle_in_transaction, c.lane, date_trunc('second', c.longest_transaction)),
           'find the client that opens a transaction and waits; it holds locks and a slot'
    FROM pglanes.connections c WHERE c.idle_in_transaction > 0 AND c.longest_transaction > interval '1 minute'
    UNION ALL
    SELECT 2, 'warning', 'many dead rows',
           format('%I.%I: %s %%', v.schema, v.table_name, v.dead_percent),
           CASE WHEN v.has_vector_index
                THEN 'compaction is behind: REINDEX INDEX CONCURRENTLY its vector index, then VACUUM'
                ELSE 'VACUUM it, and lower its autovacuum_vacuum_scale_factor' END
    FROM pglanes.vacuum v WHERE v.dead_percent > 20 AND v.dead_rows > 1000
    UNION ALL
    SELECT 2, 'warning', 'vacuum is held back',
           format('%s %s: %s transactions', h.kind, h.name, h.transactions_held),
           'end it: dead rows cannot be removed before'
    FROM pglanes.vacuum_holders h WHERE h.transactions_held > 1000000 OR h.since > interval '1 hour'
    UNION ALL
    SELECT 1, 'critical', 'connections run out',
           format('%s %% of max_connections', sum(c.percent_of_max_connections)),
           'lower the lanes'' slots, or raise max_connections'
    FROM pglanes.connections c HAVING sum(c.percent_of_max_connections) > 80
    UNION ALL
    SELECT 3, 'note', 'checkpoints are forced',
           format('%s by request, %s by time', k.by_request, k.by_time), 'raise max_wal_size (pglanes tune)'
    FROM pglanes.checkpoints k WHERE k.by_request > 10 AND k.by_request > k.by_time
    UNION ALL
    SELECT 3, 'note', 'a cache hit ratio is low',
           format('%s: %s %%', d.datname, round(100.0 * d.blks_hit / (d.blks_hit + d.blks_read), 1)), 'raise shared_buffers (pglanes tune)'
    FROM pg_catalog.pg_stat_database d
    WHERE d.datname = current_database() AND d.blks_hit + d.blks_read > 100000 AND d.blks_hit < 0.95 * (d.blks_hit + d.blks_read)
) warning
ORDER BY warning.rank, warning.sign;
COMMENT ON VIEW pglanes.early_warnings IS
    'The signs that something gets worse, and what to do about each. No row is a good answer.';
