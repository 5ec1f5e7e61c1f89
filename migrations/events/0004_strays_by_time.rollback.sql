COMMENT ON TABLE events_default IS
'Events of months that have no partition: much too late, or much too early.';
DROP INDEX events_default_created_at_idx;
