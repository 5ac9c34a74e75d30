CREATE VIEW pglanes.vector_indexes AS
SELECT i.schemaname AS schema,
       i.relname AS table_name,
       i.indexrelname AS index_name,
       m.amname AS method,
       coalesce(array_to_string(c.reloptions, ', '), 'default') AS options,
       greatest(t.reltuples, 0)::bigint AS rows_estimated,
       x.indisvalid AND x.indisready AS usable,
       i.idx_scan AS scans,
-- if 16+
       i.last_idx_scan AS last_scan,
-- else
       NULL::timestamptz AS last_scan,
-- end
       pg_relation_size(i.indexrelid) AS bytes,
       pg_size_pretty(pg_relation_size(i.indexrelid)) AS size,
       round(100.0 * pg_relation_size(i.indexrelid) / pg_size_bytes(current_setting('shared_buffers')), 1) AS percent_of_shared_buffers,
       round(100.0 * o.idx_blks_hit / nullif(o.idx_blks_hit + o.idx_blks_read, 0), 2) AS cache_hit_percent,
       o.idx_blks_read AS blocks_read,
       p.phase AS build_phase,
       round(100.0 * p.tuples_done / nullif(p.tuples_total, 0), 1) AS build_percent
FROM pg_catalog.pg_stat_user_indexes i
JOIN pg_catalog.pg_statio_user_indexes o ON o.indexrelid = i.indexrelid
JOIN pg_catalog.pg_index x ON x.indexrelid = i.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.relid
JOIN pg_catalog.pg_am m ON m.oid = c.relam
LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.index_relid = i.indexrelid
WHERE m.amname IN ('hnsw', 'ivfflat');
COMMENT ON VIEW pglanes.vector_indexes IS
    'Indexes of pgvector. Look for: usable = false (a build that failed: drop it); cache_hit_percent falling below 99 while percent_of_shared_buffers is above 50 (the graph no longer stays in memory); scans at 0.';

-- if pg_stat_statements
CREATE VIEW pglanes.vector_searches AS
SELECT pglanes.lane_of(NULL, r.rolname::text, d.datname::text) AS lane,
       s.queryid AS query_id,
       s.calls,
       round(s.mean_exec_time::numeric, 3) AS mean_milliseconds,
       round(s.stddev_exec_time::numeric, 3) AS deviation_milliseconds,
       round(s.min_exec_time::numeric, 3) AS fastest_milliseconds,
       round(s.max_exec_time::numeric, 3) AS slowest_milliseconds,
       round(s.rows::numeric / nullif(s.calls, 0), 1) AS rows_a_call,
       round((s.shared_blks_hit + s.shared_blks_read)::numeric / nullif(s.calls, 0), 1) AS blocks_a_call,
       round(100.0 * s.shared_blks_hit / nullif(s.shared_blks_hit + s.shared_blks_read, 0), 2) AS cache_hit_percent
FROM {pg_stat_statements}.pg_stat_statements s
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.userid
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE pglanes.statement_class(s.query) = 'vector search' AND s.dbid = (
    SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = current_database());
-- else
CREATE VIEW pglanes.vector_searches AS
SELECT NULL::text AS lane, NULL::bigint AS query_id, NULL::bigint AS calls, NULL::numeric AS mean_milliseconds,
       NULL::numeric AS deviation_milliseconds, NULL::numeric AS fastest_milliseconds, NULL::numeric AS slowest_milliseconds,
       NULL::numeric AS rows_a_call, NULL::numeric AS blocks_a_call, NULL::numeric AS cache_hit_percent
WHERE false;
-- end
COMMENT ON VIEW pglanes.vector_searches IS
    'Vector searches since the statistics were reset; empty without pg_stat_statements. blocks_a_call that grows with the table is a search without its index; mean far above fastest is a search that is disturbed.';
