-- Whose events the outbox has, for the events service; and dead letters that were not refused.
-- depends: 0026_documents_required

-- A default that differs by row rewrites the table: it has one row.
-- squawk-ignore adding-field-with-default
ALTER TABLE outbox_cursor ADD COLUMN source uuid NOT NULL DEFAULT gen_random_uuid();

COMMENT ON COLUMN outbox_cursor.source IS
'Names this log to the events service, which refuses what an outdated leader of it sends. Drawn '
'once.';

COMMENT ON TABLE outbox_dead_letters IS
'Events that the events service refused, or that were parked. rowlock outbox replay puts them '
'back into the log; the others are purged in the background after dead_letters_keep_s.';
COMMENT ON COLUMN outbox_dead_letters.status IS
'The HTTP status of the refusal; 0 where there was no answer, or rowlock outbox park has parked '
'it.';
COMMENT ON COLUMN outbox_dead_letters.error IS
'What the events service answered, its first 1,000 characters, or why it was parked.';
COMMENT ON COLUMN outbox_dead_letters.refused_at IS
'When it was last refused or parked; the purge goes by it.';
