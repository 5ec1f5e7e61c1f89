-- Which request caused an event.
-- depends: 0001_events

-- No CHECK of its length, as name has: that would read every event under the table's lock.
ALTER TABLE events ADD COLUMN request_id text;

COMMENT ON COLUMN events.request_id IS
'The sender''s id of the request that caused it, 1 to 128 characters; null if the sender does not '
'say.';
