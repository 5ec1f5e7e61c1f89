DROP FUNCTION drop_events_partitions(date);
DROP FUNCTION ensure_events_partition(date);
DROP TABLE event_keys;
DROP TABLE events;
