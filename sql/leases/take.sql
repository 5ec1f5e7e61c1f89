-- leases/take: become the holder of a lease that no process holds any more
-- Params:  $1 name text
--          $2 holder text
--          $3 duration interval   from when the statement starts
-- Locks:   the lease's row; another process that is taking it is waited for
-- Rows:    epoch bigint; one, none if another process holds it
-- Index:   leases_pkey
INSERT INTO leases AS lease (name, holder, epoch, since, expires)
SELECT
    $1 AS name,
    $2 AS holder,
    1 AS epoch,
    clock_timestamp() AS since,
    clock_timestamp() + $3::interval AS expires
-- Those who wait for the lease ask often: they read, and lock nothing.
WHERE
    NOT EXISTS (
        SELECT 1
        FROM leases AS held
        WHERE held.name = $1 AND held.expires > clock_timestamp()
    )
ON CONFLICT (name) DO UPDATE
    SET
        holder = excluded.holder,
        epoch = lease.epoch + 1,
        since = excluded.since,
        expires = excluded.expires
    WHERE lease.expires <= clock_timestamp()
RETURNING epoch
