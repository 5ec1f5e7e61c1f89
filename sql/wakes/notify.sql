-- wakes/notify: wake the background tasks of other processes, which listen on the channel
-- Params:  $1 channel text
-- Locks:   none
-- Rows:    notified void, synchronous_commit text; one
-- Index:   none, no table is read
SELECT
    pg_notify($1, '') AS notified,
    -- Nothing is lost with it, so its commit waits for neither the disk nor a standby.
    set_config('synchronous_commit', 'off', true) AS synchronous_commit
