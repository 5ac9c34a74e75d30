-- The cache's compression: lz4 for its large JSON.
-- why: pglz takes several times the CPU of lz4, for each write and each read of a large value
-- lock: ACCESS EXCLUSIVE, for a moment: nothing is rewritten. It waits for it a fifth of a second at a time, as others queue behind
-- if: lz4
-- needs: cache(context)
-- keeps: cache(context)
-- psql: -f deploy/sql/30-cache-compression.sql; back: 30-cache-compression.undo.sql
\ir names.psql

SET lock_timeout = '200ms';
-- Holds for values written from now on; older ones stay readable as they are.
ALTER TABLE :"schema".:"cache" ALTER COLUMN :"context" SET COMPRESSION lz4;
