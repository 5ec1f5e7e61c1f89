DROP INDEX orders_refused_idx;
DROP INDEX orders_pending_idx;
ALTER TABLE orders DROP COLUMN next_attempt_at;
ALTER TABLE orders DROP COLUMN attempts;
