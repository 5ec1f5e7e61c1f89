-- outbox/describe_backlog: tell operators how the delivery stands
-- Params:  none
-- Locks:   none
-- Rows:    backlog bigint, oldest_age_s float8, held_back bigint, dead bigint,
--          idle_s float8, stranded bigint; one
-- Index:   outbox_pkey
SELECT
    count(outbox.position) AS backlog,
    coalesce(extract(EPOCH FROM now() - min(outbox.created_at)), 0)::double precision
        AS oldest_age_s,
    count(*) FILTER (WHERE outbox.xid >= pg_snapshot_xmin(pg_current_snapshot())) AS held_back,
    (SELECT count(*) FROM outbox_dead_letters) AS dead,
    extract(EPOCH FROM now() - max(last.advanced_at))::double precision AS idle_s,
    count(*) FILTER (WHERE outbox.xid >= pg_snapshot_xmax(pg_current_snapshot()))
    + count(DISTINCT last.xid) FILTER (WHERE last.xid >= pg_snapshot_xmax(pg_current_snapshot()))
        AS stranded
FROM outbox_cursor AS last
LEFT JOIN outbox ON (outbox.xid, outbox.position) > (last.xid, last.position)
