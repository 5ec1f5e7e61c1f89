ALTER TABLE orders DROP COLUMN request_id;
ALTER TABLE outbox_dead_letters DROP COLUMN request_id;
ALTER TABLE outbox DROP COLUMN request_id;
