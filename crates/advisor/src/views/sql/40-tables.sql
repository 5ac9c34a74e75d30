CREATE VIEW pglanes.vacuum AS
SELECT t.schemaname AS schema,
       t.relname AS table_name,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
               JOIN pg_catalog.pg_am m ON m.oid = ic.relam
               WHERE x.indrelid = t.relid AND m.amname IN ('hnsw', 'ivfflat')) AS has_vector_index,
       t.n_live_tup AS live_rows,
       t.n_dead_tup AS dead_rows,
       round(100.0 * t.n_dead_tup / nullif(t.n_live_tup + t.n_dead_tup, 0), 1) AS dead_percent,
       (limits.base + limits.scale * greatest(c.reltuples, 0))::bigint AS autovacuum_from_dead_rows,
       t.n_dead_tup > limits.base + limits.scale * greatest(c.reltuples, 0) AS autovacuum_due,
       greatest(t.last_vacuum, t.last_autovacuum) AS last_vacuum,
       greatest(t.last_analyze, t.last_autoanalyze) AS last_analyze,
       t.vacuum_count + t.autovacuum_count AS vacuums,
       round(100.0 * t.n_tup_hot_upd / nullif(t.n_tup_upd, 0), 1) AS hot_update_percent,
       coalesce((SELECT o.option_value FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'fillfactor'), '100')::int AS fillfactor,
       age(c.relfrozenxid) AS transactions_since_freeze,
       p.phase AS vacuum_phase,
       round(100.0 * p.heap_blks_scanned / nullif(p.heap_blks_total, 0), 1) AS vacuum_percent
FROM pg_catalog.pg_stat_user_tables t
JOIN pg_catalog.pg_class c ON c.oid = t.relid
LEFT JOIN pg_catalog.pg_stat_progress_vacuum p ON p.relid = t.relid
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT o.option_value::float8 FROM pg_options_to_table(c.reloptions) o
                     WHERE o.option_name = 'autovacuum_vacuum_threshold'),
                    current_setting('autovacuum_vacuum_threshold')::float8) AS base,
           coalesce((SELECT o.option_value::float8 FROM pg_options_to_table(c.reloptions) o
                     WHERE o.option_name = 'autovacuum_vacuum_scale_factor'),
                    current_setting('autovacuum_vacuum_scale_factor')::float8) AS scale
) limits;
COMMENT ON VIEW pglanes.vacuum IS
    'Dead rows and vacuum by table. Look for: dead_percent above 20; autovacuum_due for long (something holds it back: see vacuum_holders); on a table with a vector index REINDEX INDEX CONCURRENTLY before VACUUM is faster.';

CREATE VIEW pglanes.vacuum_holders AS
SELECT 'transaction' AS kind,
       a.pid::text AS name,
       pglanes.lane_of(a.application_name, a.usename::text, a.datname::text) AS lane,
       a.state,
       now() - a.xact_start AS since,
       age(a.backend_xmin) AS transactions_held
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
UNION ALL
SELECT 'replication slot', s.slot_name::text, NULL, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, NULL,
       age(coalesce(s.xmin, s.catalog_xmin))
FROM pg_catalog.pg_replication_slots s
WHERE coalesce(s.xmin, s.catalog_xmin) IS NOT NULL
UNION ALL
SELECT 'prepared transaction', x.gid, NULL, 'prepared', now() - x.prepared, age(x.transaction)
FROM pg_catalog.pg_prepared_xacts x;
COMMENT ON VIEW pglanes.vacuum_holders IS
    'Who keeps vacuum from removing dead rows: the greatest transactions_held is the one to end.';

CREATE VIEW pglanes.storage AS
SELECT n.nspname AS schema,
       c.relname AS table_name,
       greatest(c.reltuples, 0)::bigint AS rows_estimated,
       pg_size_pretty(pg_relation_size(c.oid)) AS table_size,
       pg_size_pretty(coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)) AS toast_size,
       pg_size_pretty(pg_indexes_size(c.oid)) AS index_size,
       pg_total_relation_size(c.oid) AS total_bytes,
       round(100.0 * coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)
             / nullif(pg_total_relation_size(c.oid), 0), 1) AS toast_percent,
       round(100.0 * o.toast_blks_hit / nullif(o.toast_blks_hit + o.toast_blks_read, 0), 2) AS toast_cache_hit_percent,
       columns.jsonb_columns,
       columns.vector_columns,
       columns.jsonb_bytes_a_row
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_statio_user_tables o ON o.relid = c.oid
CROSS JOIN LATERAL (
    SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FILTER (WHERE y.typname IN ('json', 'jsonb')) AS jsonb_columns,
           string_agg(a.attname, ', ' ORDER BY a.attnum) FILTER (WHERE y.typname IN ('vector', 'halfvec', 'sparsevec')) AS vector_columns,
           sum(s.avg_width) FILTER (WHERE y.typname IN ('json', 'jsonb')) AS jsonb_bytes_a_row
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) columns
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pglanes') AND n.nspname !~ '^pg_toast';
COMMENT ON VIEW pglanes.storage IS
    'The weight of tables, their JSONB and their TOAST. Look for: toast_percent above 50 on a table that is read often; large JSONB that is compressed by pglz where lz4 could be.';
