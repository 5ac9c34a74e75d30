-- if pg_stat_statements
CREATE VIEW pglanes.queries AS
SELECT pglanes.lane_of(NULL, r.rolname::text, d.datname::text) AS lane,
       pglanes.statement_class(s.query) AS statement_class,
       count(*) AS statements,
       sum(s.calls)::bigint AS calls,
       round(sum(s.total_exec_time)::numeric / 1000, 3) AS seconds,
       round((sum(s.total_exec_time) / nullif(sum(s.calls), 0))::numeric, 3) AS mean_milliseconds,
       round(max(s.max_exec_time)::numeric, 3) AS slowest_milliseconds,
       sum(s.rows)::bigint AS rows,
       round(100.0 * sum(s.shared_blks_hit) / nullif(sum(s.shared_blks_hit + s.shared_blks_read), 0), 2) AS cache_hit_percent,
       pg_size_pretty(sum(s.temp_blks_written)::bigint * current_setting('block_size')::bigint) AS temporary_files,
       pg_size_pretty(sum(s.wal_bytes)::bigint) AS wal
FROM {pg_stat_statements}.pg_stat_statements s
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.userid
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
GROUP BY 1, 2;
-- else
CREATE VIEW pglanes.queries AS
SELECT NULL::text AS lane, NULL::text AS statement_class, NULL::bigint AS statements, NULL::bigint AS calls, NULL::numeric AS seconds,
       NULL::numeric AS mean_milliseconds, NULL::numeric AS slowest_milliseconds, NULL::bigint AS rows, NULL::numeric AS cache_hit_percent,
       NULL::text AS temporary_files, NULL::text AS wal
WHERE false;
-- end
COMMENT ON VIEW pglanes.queries IS
    'Statements by lane and class since the statistics were reset; empty without pg_stat_statements, which knows users and databases but no application_name: a lane that is told by that alone is seen in its user''s. The metrics of pglanes tell lanes apart exactly.';
