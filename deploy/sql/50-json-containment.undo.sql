-- Takes back 50-json-containment.sql.
\ir names.psql
SET lock_timeout = '60s';
DROP INDEX CONCURRENTLY IF EXISTS :"schema".pglanes_messages_metadata;
