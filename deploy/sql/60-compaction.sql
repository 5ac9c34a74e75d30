-- Compaction in small batches, in place of one bulk DELETE.
-- why: a bulk DELETE holds its row locks, its snapshot and its slot to its end; a batch lets go of them after a moment, and an interrupted run keeps what it has done
-- lock: none on the tables
-- needs: messages(message_id, relevance)
-- psql: -f deploy/sql/60-compaction.sql; back: 60-compaction.undo.sql
\ir names.psql

SET lock_timeout = '2s';
-- One batch: of the next `batch` messages above the key `after`, those with a relevance below `below` are moved to `archive`, or
-- deleted where none is named. Gives the key to go on after, and how many went; no key where the end is reached. Rows that
-- somebody else holds are left.
CREATE OR REPLACE FUNCTION pglanes.compact_batch(
    below         double precision,
    after         bigint DEFAULT -9223372036854775808,
    archive       text DEFAULT NULL,
    batch         integer DEFAULT 500,
    messages      text DEFAULT pg_catalog.format('%I.%I', :'schema', :'messages'),
    message_id    name DEFAULT :'message_id',
    relevance     name DEFAULT :'relevance',
    OUT last_key  bigint,
    OUT compacted bigint
) LANGUAGE plpgsql AS $$
DECLARE
    remove text;
BEGIN
    IF batch < 1 OR batch > 100000 THEN
        RAISE EXCEPTION 'a batch is 1 to 100000 rows, not %', batch USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE pg_catalog.format(
        'SELECT max(k) FROM (SELECT %2$I AS k FROM %1$s WHERE %2$I > $1 ORDER BY %2$I LIMIT $2) AS next',
        messages::pg_catalog.regclass, message_id) INTO last_key USING after, batch;
    compacted := 0;
    IF last_key IS NULL THEN
        RETURN;
    END IF;
    remove := pg_catalog.format(
        'DELETE FROM %1$s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$s WHERE %2$I > $1 AND %2$I <= $2 AND %3$I < $3 '
        'FOR UPDATE SKIP LOCKED))', messages::pg_catalog.regclass, message_id, relevance);
    IF archive IS NOT NULL THEN
        remove := pg_catalog.format('WITH gone AS (%s RETURNING *) INSERT INTO %s SELECT * FROM gone',
            remove, archive::pg_catalog.regclass);
    END IF;
    EXECUTE remove USING after, last_key, below;
    GET DIAGNOSTICS compacted = ROW_COUNT;
END $$;

-- All of it: commits after each batch, then rests for as long as the batch took (times `rest`), so that it slows down when the
-- server is busy. Not inside a transaction. CALL pglanes.compact(below => 0.05, archive => 'conversation_archive')
CREATE OR REPLACE PROCEDURE pglanes.compact(
    below           double precision,
    archive         text DEFAULT NULL,
    batch           integer DEFAULT 500,
    rest            double precision DEFAULT 1.0,
    messages        text DEFAULT pg_catalog.format('%I.%I', :'schema', :'messages'),
    message_id      name DEFAULT :'message_id',
    relevance       name DEFAULT :'relevance',
    INOUT compacted bigint DEFAULT 0
) LANGUAGE plpgsql AS $$
DECLARE
    after bigint := -9223372036854775808;
    went  bigint;
    begun timestamptz;
    took  double precision;
BEGIN
    compacted := 0;
    LOOP
        begun := pg_catalog.clock_timestamp();
        SELECT b.last_key, b.compacted INTO after, went
            FROM pglanes.compact_batch(below, after, archive, batch, messages, message_id, relevance) AS b;
        EXIT WHEN after IS NULL;
        compacted := compacted + went;
        COMMIT;
        took := EXTRACT(epoch FROM pg_catalog.clock_timestamp() - begun);
        PERFORM pg_catalog.pg_sleep(LEAST(GREATEST(took * rest, 0), 5));
    END LOOP;
    COMMIT;
END $$;
