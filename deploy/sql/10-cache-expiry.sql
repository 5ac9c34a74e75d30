-- The cache's expiry: an index on its time, and deletion in small batches.
-- why: without an index every expiry reads the whole table; one bulk DELETE holds its row locks and its slot to its end
-- lock: SHARE UPDATE EXCLUSIVE, beside which reads and writes go on
-- needs: cache(expires)
-- psql: -f deploy/sql/10-cache-expiry.sql; back: 10-cache-expiry.undo.sql
\ir names.psql

-- Waiting for older transactions holds up VACUUM and other DDL alone.
SET lock_timeout = '60s';
-- index: pglanes_cache_expiry cache(expires) btree
CREATE INDEX CONCURRENTLY IF NOT EXISTS pglanes_cache_expiry ON :"schema".:"cache" (:"expires");
SET lock_timeout = '2s';

-- One batch, for a loop of the application's: between two calls the lanes decide who goes on. Rows that somebody else holds
-- are left for the next time.
CREATE OR REPLACE FUNCTION pglanes.expire_cache_batch(
    batch   integer DEFAULT 500,
    cache   text DEFAULT pg_catalog.format('%I.%I', :'schema', :'cache'),
    expires name DEFAULT :'expires'
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
BEGIN
    IF batch < 1 OR batch > 100000 THEN
        RAISE EXCEPTION 'a batch is 1 to 100000 rows, not %', batch USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE pg_catalog.format(
        'DELETE FROM %1$s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$s WHERE %2$I < CURRENT_TIMESTAMP '
        'ORDER BY %2$I LIMIT $1 FOR UPDATE SKIP LOCKED))', cache::pg_catalog.regclass, expires)
        USING batch;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- All of it: commits after each batch, then rests for as long as the batch took (times `rest`), so that it slows down when the
-- server is busy. Not inside a transaction.
CREATE OR REPLACE PROCEDURE pglanes.expire_cache(
    batch   integer DEFAULT 500,
    rest    double precision DEFAULT 1.0,
    cache   text DEFAULT pg_catalog.format('%I.%I', :'schema', :'cache'),
    expires name DEFAULT :'expires'
) LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    took  double precision;
BEGIN
    LOOP
        begun := pg_catalog.clock_timestamp();
        EXIT WHEN pglanes.expire_cache_batch(batch, cache, expires) < batch;
        COMMIT;
        took := EXTRACT(epoch FROM pg_catalog.clock_timestamp() - begun);
        PERFORM pg_catalog.pg_sleep(LEAST(GREATEST(took * rest, 0), 5));
    END LOOP;
    COMMIT;
END $$;
