COMMENT ON COLUMN outbox_dead_letters.refused_at IS 'When it was last refused.';
COMMENT ON COLUMN outbox_dead_letters.error IS
'What the events service answered, its first 1,000 characters.';
COMMENT ON COLUMN outbox_dead_letters.status IS 'The HTTP status of the refusal.';
COMMENT ON TABLE outbox_dead_letters IS
'Events that the events service refused (400, 413, 422). Kept until rowlock outbox replay puts '
'them back into the log.';
ALTER TABLE outbox_cursor DROP COLUMN source;
