-- The cache's churn: vacuum of its large values before they pile up.
-- why: an answer of 75 kB is some forty rows in the TOAST table, and each rewrite leaves them dead: by default vacuum comes when a fifth of it is
-- lock: SHARE UPDATE EXCLUSIVE, beside which reads and writes go on
-- needs: cache
-- keeps: cache
-- psql: -f deploy/sql/21-cache-churn.sql; back: 21-cache-churn.undo.sql
\ir names.psql

SET lock_timeout = '2s';
ALTER TABLE :"schema".:"cache" SET (
    autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_scale_factor = 0.02
);
