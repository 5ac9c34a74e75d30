-- Takes back 20-messages-updates.sql; `pglanes schema undo` also sets again what was set before.
\ir names.psql
SET lock_timeout = '2s';
ALTER TABLE :"schema".:"messages" RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
