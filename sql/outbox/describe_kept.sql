-- outbox/describe_kept: tell operators what is kept of the events that were delivered
-- Params:  none
-- Locks:   none
-- Rows:    kept bigint, kept_since timestamptz?, resend boolean, rewinds bigint,
--          rewound_at timestamptz?, reason text?, lost_at timestamptz?, lost_before timestamptz?;
--          one; resend: the relay is asked to go back; rewinds: how often it has, and last when and
--          why; lost_at: the latest time at which not all was kept, if that is not accepted;
--          lost_before: what was kept then was delivered later than this
-- Index:   outbox_pkey
WITH newest AS (
    SELECT
        at,
        reason
    FROM outbox_rewinds
    ORDER BY id DESC
    LIMIT 1
),

loss AS (
    SELECT
        at,
        kept_since
    FROM outbox_rewinds
    WHERE NOT complete AND accepted_at IS NULL
    ORDER BY id DESC
    LIMIT 1
)

SELECT
    (
        SELECT count(*)
        FROM outbox
        WHERE (outbox.xid, outbox.position) <= (last.xid, last.position)
    ) AS kept,
    (
        SELECT min(mark.at)
        FROM outbox_marks AS mark
        WHERE
            mark.position = 0
            OR EXISTS (
                SELECT 1
                FROM outbox
                WHERE outbox.xid = mark.xid AND outbox.position = mark.position
            )
    ) AS kept_since,
    last.resend_xid IS NOT NULL AS resend,
    (SELECT count(*) FROM outbox_rewinds) AS rewinds,
    newest.at AS rewound_at,
    newest.reason,
    loss.at AS lost_at,
    loss.kept_since AS lost_before
FROM outbox_cursor AS last
LEFT JOIN newest ON newest.at IS NOT NULL
LEFT JOIN loss ON loss.at IS NOT NULL
