-- Named cursors in the log.
-- depends: 0013_subscriptions

CREATE TABLE consumers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Serves consumers/find_consumers, consumers/lock_consumers and consumers/create_consumers.
    name text NOT NULL CONSTRAINT consumers_name_key UNIQUE
    CHECK (name ~ '^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$'),
    position bigint NOT NULL CHECK (position >= 0),
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    created_by text NOT NULL,
    acknowledged_at timestamptz
)
-- Acknowledgements change a row again and again, and no index: they stay on the row's page.
WITH (fillfactor = 50);

COMMENT ON TABLE consumers IS
'Named cursors in the log: how far each reader is done with it. They are in the same database as '
'the log, so a failover that loses events loses the acknowledgements of these as well.';
COMMENT ON COLUMN consumers.id IS 'Key; the list goes by it.';
COMMENT ON COLUMN consumers.name IS 'As its reader calls it; unique.';
COMMENT ON COLUMN consumers.position IS
'events.id of the last event that is done with; 0: none, it starts at the oldest event that is '
'kept. Only rises, but for a reset. Not a foreign key: the event may be dropped.';
COMMENT ON COLUMN consumers.created_at IS 'Start of the statement that created it.';
COMMENT ON COLUMN consumers.created_by IS 'The actor that created it.';
COMMENT ON COLUMN consumers.acknowledged_at IS
'When an acknowledgement has moved it last; null: none has.';
