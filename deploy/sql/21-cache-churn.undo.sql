-- Takes back 21-cache-churn.sql; `pglanes schema undo` also sets again what was set before.
\ir names.psql
SET lock_timeout = '2s';
ALTER TABLE :"schema".:"cache" RESET (autovacuum_vacuum_scale_factor, toast.autovacuum_vacuum_scale_factor);
