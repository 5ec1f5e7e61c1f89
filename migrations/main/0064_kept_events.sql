-- Keeps delivered events for a while, and notes what the events service says that it has, so that
-- the relay can go back.
-- depends: 0061_cluster_epochs

ALTER TABLE outbox_cursor
ADD COLUMN log text,
ADD COLUMN mark_xid xid8,
ADD COLUMN mark_position bigint,
ADD COLUMN resend_xid xid8,
ADD COLUMN resend_position bigint,
-- 0065_kept_names validates them.
ADD CONSTRAINT outbox_cursor_log_check CHECK (length(log) BETWEEN 1 AND 200) NOT VALID,
ADD CONSTRAINT outbox_cursor_mark_check
CHECK ((mark_xid IS NULL) = (mark_position IS NULL)) NOT VALID,
ADD CONSTRAINT outbox_cursor_resend_check
CHECK ((resend_xid IS NULL) = (resend_position IS NULL)) NOT VALID;

COMMENT ON TABLE outbox_cursor IS
'One row: everything in the outbox up to (xid, position) is delivered. Written by the leading '
'relay, which moves it on after each delivery, and back where the events service has lost events.';
COMMENT ON COLUMN outbox_cursor.log IS
'Names the log of the events service that took the last delivery, as it said itself; null if it '
'does not say, as release 0.2.0.';
COMMENT ON COLUMN outbox_cursor.mark_xid IS
'With mark_position, the mark that the log keeps for this outbox: it has everything that was '
'delivered up to there. Null before the first delivery to a log that says so.';
COMMENT ON COLUMN outbox_cursor.mark_position IS 'The position of that mark.';
COMMENT ON COLUMN outbox_cursor.resend_xid IS
'With resend_position, where rowlock outbox resend asks the relay to go back to; null once it has.';
COMMENT ON COLUMN outbox_cursor.resend_position IS 'The position of that place.';

COMMENT ON TABLE outbox IS
'The log of events, each written by the transaction that caused it. Updated only to remove a '
'name; deleted in the background, ROWLOCK_OUTBOX_KEEP_S after it is delivered.';

CREATE TABLE outbox_marks (
    at timestamptz PRIMARY KEY,
    xid xid8 NOT NULL,
    position bigint NOT NULL
);

COMMENT ON TABLE outbox_marks IS
'How far the outbox was delivered at some times, about one a minute: tells how old a delivery is, '
'without a write for each event. Written by the purge; locked by a relay that goes back.';
COMMENT ON COLUMN outbox_marks.at IS 'By then, everything up to this place was delivered.';
COMMENT ON COLUMN outbox_marks.xid IS
'Transaction of the last event delivered. While the outbox has that event, it has all later ones.';
COMMENT ON COLUMN outbox_marks.position IS 'Position of that event; 0 before the first.';

-- Release 0.2.0 has removed what it delivered: from here on, it is kept. If it still has something
-- to deliver for the first time, it may remove that, too: then nothing is known to be complete yet.
INSERT INTO outbox_marks (at, xid, position)
SELECT
    now() AS at,
    xid,
    position
FROM outbox_cursor
WHERE position > 0 OR NOT EXISTS (SELECT FROM outbox);

CREATE FUNCTION count_skipped_positions(after bigint, up_to bigint) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(sum(cut.first - cut.last - 1), 0)::bigint
    FROM (
        SELECT
            (ids -> 'outbox' -> 'last')::bigint AS last,
            (ids -> 'outbox' -> 'first')::bigint AS first
        FROM cluster_epochs
    ) AS cut
    WHERE cut.last >= after AND cut.first <= up_to
$$;

COMMENT ON FUNCTION count_skipped_positions(bigint, bigint) IS
'How many positions of the outbox, of those after the first argument up to the second, were '
'skipped as an epoch began: no event has them. The caller needs SELECT on cluster_epochs.';

CREATE TABLE outbox_rewinds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL
    CONSTRAINT outbox_rewinds_reason_check
    CHECK (reason IN ('log_changed', 'mark_behind', 'resend')),
    xid xid8 NOT NULL,
    position bigint NOT NULL,
    events bigint NOT NULL,
    kept_since timestamptz,
    complete boolean NOT NULL,
    accepted_at timestamptz
);

COMMENT ON TABLE outbox_rewinds IS
'When the relay went back, and why. Those that lost nothing, or whose loss was accepted, are '
'removed after 90 days.';
COMMENT ON COLUMN outbox_rewinds.id IS 'Key.';
COMMENT ON COLUMN outbox_rewinds.at IS 'When it went back.';
COMMENT ON COLUMN outbox_rewinds.reason IS
'log_changed: the events service has another log; mark_behind: its log ends before what it had '
'taken; resend: rowlock outbox resend.';
COMMENT ON COLUMN outbox_rewinds.xid IS
'Where it went back to: everything later is delivered again. 0: everything that is kept.';
COMMENT ON COLUMN outbox_rewinds.position IS 'The position of that place.';
COMMENT ON COLUMN outbox_rewinds.events IS 'How many delivered events were kept after that place.';
COMMENT ON COLUMN outbox_rewinds.kept_since IS
'What was delivered after this time was kept; null if nothing was.';
COMMENT ON COLUMN outbox_rewinds.complete IS
'False if the events service lacks events that were delivered after that place and are no longer '
'kept. Always true for a resend: it lacks none then.';
COMMENT ON COLUMN outbox_rewinds.accepted_at IS
'When an operator has accepted the loss (rowlock outbox accept); null: doctor names it.';
