-- Which request caused an event.
-- depends: 0001_events

-- Not valid yet: to look at every event would hold up the intake. 0003_check_request_ids does.
ALTER TABLE events
ADD COLUMN request_id text,
ADD CONSTRAINT events_request_id_check CHECK (length(request_id) BETWEEN 1 AND 128) NOT VALID;

COMMENT ON COLUMN events.request_id IS
'The sender''s id of the request that caused it, 1 to 128 characters; null if the sender does not '
'say.';
