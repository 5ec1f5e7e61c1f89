-- Which logs send events, and who leads there.
-- depends: 0005_pinned_functions

CREATE TABLE event_sources (
    source uuid PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch > 0),
    since timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE event_sources IS
'The outboxes whose relays have sent events. Written under events/lock_log. A relay with an epoch '
'lower than the one here has been replaced, and is refused.';
COMMENT ON COLUMN event_sources.source IS
'The outbox: outbox_cursor.source in its main database.';
COMMENT ON COLUMN event_sources.epoch IS
'The highest epoch of its relay''s lease that has sent events.';
COMMENT ON COLUMN event_sources.since IS 'When this epoch first sent events.';
