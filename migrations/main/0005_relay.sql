-- How far the outbox has been delivered, and what the events service refused.
-- depends: 0004_orders

CREATE TABLE outbox_cursor (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    xid xid8 NOT NULL DEFAULT '0',
    position bigint NOT NULL DEFAULT 0,
    last_position bigint NOT NULL DEFAULT 0,
    advanced_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO outbox_cursor DEFAULT VALUES;

COMMENT ON TABLE outbox_cursor IS
'One row: everything in the outbox up to (xid, position) is delivered. Written by the leading '
'relay after each delivery.';
COMMENT ON COLUMN outbox_cursor.only_one IS 'Key; always true, so there is one row.';
COMMENT ON COLUMN outbox_cursor.xid IS
'Transaction of the last event delivered; 0 before the first.';
COMMENT ON COLUMN outbox_cursor.position IS
'Position of the last event delivered; 0 before the first.';
COMMENT ON COLUMN outbox_cursor.last_position IS
'The highest position delivered so far. Positions outlive a logical restore, transaction ids do '
'not: outbox/rebase goes by them.';
COMMENT ON COLUMN outbox_cursor.advanced_at IS 'When the cursor last moved.';

CREATE TABLE outbox_dead_letters (
    event_id uuid PRIMARY KEY,
    name text NOT NULL,
    subject text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    status integer NOT NULL,
    error text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE outbox_dead_letters IS
'Events that the events service refused (400, 413, 422). Kept until rowlock outbox replay puts '
'them back into the log.';
COMMENT ON COLUMN outbox_dead_letters.event_id IS
'The event''s own id: refused again after a replay, it is the same row.';
COMMENT ON COLUMN outbox_dead_letters.name IS 'What happened, as in the outbox.';
COMMENT ON COLUMN outbox_dead_letters.subject IS
'What it happened to, as kind:id, as in the outbox.';
COMMENT ON COLUMN outbox_dead_letters.payload IS 'As in the outbox.';
COMMENT ON COLUMN outbox_dead_letters.created_at IS 'When it happened, as in the outbox.';
COMMENT ON COLUMN outbox_dead_letters.status IS 'The HTTP status of the refusal.';
COMMENT ON COLUMN outbox_dead_letters.error IS
'What the events service answered, its first 1,000 characters.';
COMMENT ON COLUMN outbox_dead_letters.refused_at IS 'When it was last refused.';
