-- Takes back 10-cache-expiry.sql.
\ir names.psql
SET lock_timeout = '60s';
DROP INDEX CONCURRENTLY IF EXISTS :"schema".pglanes_cache_expiry;
SET lock_timeout = '2s';
DROP PROCEDURE IF EXISTS pglanes.expire_cache(integer, double precision, text, name);
DROP FUNCTION IF EXISTS pglanes.expire_cache_batch(integer, text, name);
