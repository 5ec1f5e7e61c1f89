-- An index of the events that have a username, of earlier releases; and what 0064_kept_events has
-- left unchecked.
-- transactional: false
-- depends: 0064_kept_events

-- squawk-ignore-file ban-concurrent-index-creation-in-transaction
ALTER TABLE outbox_cursor VALIDATE CONSTRAINT outbox_cursor_log_check;
ALTER TABLE outbox_cursor VALIDATE CONSTRAINT outbox_cursor_mark_check;
ALTER TABLE outbox_cursor VALIDATE CONSTRAINT outbox_cursor_resend_check;

-- CONCURRENTLY, as in 0022_list_indexes; a build that fails is dropped by the next one.
DROP INDEX CONCURRENTLY IF EXISTS outbox_names_idx;
-- Serves outbox/scrub_events. Events of this release have no username, so they are not in it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS outbox_names_idx ON outbox ((payload ->> 'user_id'))
WHERE payload ? 'username';
