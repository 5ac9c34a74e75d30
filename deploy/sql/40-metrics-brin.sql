-- The metrics by time: a BRIN index, and vacuum that keeps up with inserts.
-- why: the table only grows, in the order of its time: a few kilobytes of index say which pages hold an hour. Partitions would do the same, at the price of copying the table
-- lock: SHARE UPDATE EXCLUSIVE, beside which reads and writes go on
-- needs: metrics(measured)
-- keeps: metrics
-- psql: -f deploy/sql/40-metrics-brin.sql; back: 40-metrics-brin.undo.sql
\ir names.psql

SET lock_timeout = '60s';
-- index: pglanes_metrics_time metrics(measured) brin
CREATE INDEX CONCURRENTLY IF NOT EXISTS pglanes_metrics_time ON :"schema".:"metrics"
    USING brin (:"measured") WITH (pages_per_range = 32, autosummarize = on);
SET lock_timeout = '2s';
ALTER TABLE :"schema".:"metrics" SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
