-- wakes/notify: wake the background tasks of other processes, which listen on these channels
-- Params:  $1 channels text[]
-- Locks:   none
-- Rows:    notified void, synchronous_commit text; one per channel
-- Index:   none, no table is read
SELECT
    pg_notify(told.channel, '') AS notified,
    -- Nothing is lost with it, so its commit waits for neither the disk nor a standby.
    set_config('synchronous_commit', 'off', true) AS synchronous_commit
FROM unnest($1::text[]) AS told (channel)
