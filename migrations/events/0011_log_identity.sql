-- What the log is called, and how far it has the events of each outbox: so that a relay notices a
-- log that was restored or replaced.
-- depends: 0010_cluster_epochs

CREATE TABLE event_log (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO event_log DEFAULT VALUES;

COMMENT ON TABLE event_log IS 'One row: this log of events.';
COMMENT ON COLUMN event_log.only_one IS 'Key; always true, so there is one row.';
COMMENT ON COLUMN event_log.id IS
'Names this log to the relays, with the identity of the present epoch. Drawn once, with the '
'database: a relay that has delivered to another log, or in another epoch, delivers again what '
'this one lacks.';

ALTER TABLE event_sources
ADD COLUMN mark text,
-- A row per outbox.
-- squawk-ignore constraint-missing-not-valid
ADD CONSTRAINT event_sources_mark_check CHECK (length(mark) BETWEEN 1 AND 100);

COMMENT ON COLUMN event_sources.mark IS
'Up to where the events of this outbox are here, in the words of its relay: XID/POSITION of the '
'last event it has delivered. Null if the relay does not say, as release 0.2.0.';
COMMENT ON TABLE event_sources IS
'The outboxes whose relays have sent events, and how far. Written under events/lock_log. A relay '
'with an epoch lower than the one here has been replaced, and is refused.';
