-- Takes back 40-metrics-brin.sql; `pglanes schema undo` also sets again what was set before.
\ir names.psql
SET lock_timeout = '60s';
DROP INDEX CONCURRENTLY IF EXISTS :"schema".pglanes_metrics_time;
SET lock_timeout = '2s';
ALTER TABLE :"schema".:"metrics" RESET (autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor);
