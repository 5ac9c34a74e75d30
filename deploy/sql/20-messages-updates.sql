-- The messages' updates: room on each page for a row's next version, and vacuum before many are dead.
-- why: a row is about 2 kB and a page holds four: an update that finds no room on its page makes a new entry in every index, the HNSW graph's at that; with room it touches none (HOT). A search walks over dead entries until vacuum takes them
-- lock: SHARE UPDATE EXCLUSIVE, beside which reads and writes go on
-- needs: messages
-- keeps: messages
-- psql: -f deploy/sql/20-messages-updates.sql; back: 20-messages-updates.undo.sql
\ir names.psql

SET lock_timeout = '2s';
-- Holds for pages filled from now on: each row gets there at its first update.
ALTER TABLE :"schema".:"messages" SET (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);
