ALTER TABLE outbox DROP COLUMN traceparent;
ALTER TABLE outbox_dead_letters DROP COLUMN traceparent;
ALTER TABLE orders DROP COLUMN traceparent;
