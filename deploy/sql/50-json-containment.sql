-- The messages' JSON: a GIN index for containment (metadata @> '{"topic": "t7"}').
-- why: without one, containment reads every row. It has its price: an update of the column then makes new entries in every index, the HNSW graph's too
-- lock: SHARE UPDATE EXCLUSIVE, beside which reads and writes go on
-- optional: only for who asks by containment and seldom updates the column; name it to apply it
-- needs: messages(metadata:jsonb)
-- psql: -f deploy/sql/50-json-containment.sql; back: 50-json-containment.undo.sql
\ir names.psql

SET lock_timeout = '60s';
-- index: pglanes_messages_metadata messages(metadata) gin
CREATE INDEX CONCURRENTLY IF NOT EXISTS pglanes_messages_metadata ON :"schema".:"messages"
    USING gin (:"metadata" jsonb_path_ops);
