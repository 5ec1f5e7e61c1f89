-- Which request caused an event, and which one a pending order waits for.
-- depends: 0020_projects

-- In the order in which requests lock them: documents, then the outbox.
ALTER TABLE orders ADD COLUMN request_id text;
ALTER TABLE outbox_dead_letters ADD COLUMN request_id text;
ALTER TABLE outbox ADD COLUMN request_id text;

COMMENT ON COLUMN orders.request_id IS
'X-Request-ID of the request that ordered, for the log lines and events of the settlement; null '
'if none did.';
COMMENT ON COLUMN outbox_dead_letters.request_id IS 'As in the outbox.';
COMMENT ON COLUMN outbox.request_id IS
'X-Request-ID of the request that caused it, even if a background task wrote it; null if none '
'did, such as for an import.';
