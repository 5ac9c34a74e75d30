-- Takes back 30-cache-compression.sql; `pglanes schema undo` also sets again what was set before.
\ir names.psql
SET lock_timeout = '200ms';
ALTER TABLE :"schema".:"cache" ALTER COLUMN :"context" SET COMPRESSION default;
