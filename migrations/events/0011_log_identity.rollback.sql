COMMENT ON TABLE event_sources IS
'The outboxes whose relays have sent events. Written under events/lock_log. A relay with an epoch '
'lower than the one here has been replaced, and is refused.';
ALTER TABLE event_sources DROP COLUMN mark;
DROP TABLE event_log;
