-- Events without a partition, found by their time.
-- depends: 0003_check_request_ids

-- Serves events/purge_default and events/find_missing_partitions. Meanwhile an event without a
-- partition has to wait, and behind it the others, up to lock_timeout.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX events_default_created_at_idx ON events_default (created_at);

COMMENT ON TABLE events_default IS
'Events of months that have no partition: far off, or too many to move into one.';
