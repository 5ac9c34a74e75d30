-- Takes back 60-compaction.sql.
\ir names.psql
SET lock_timeout = '2s';
DROP PROCEDURE IF EXISTS pglanes.compact(double precision, text, integer, double precision, text, name, name, bigint);
DROP FUNCTION IF EXISTS pglanes.compact_batch(double precision, bigint, text, integer, text, name, name);
