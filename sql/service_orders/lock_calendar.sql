-- service_orders/lock_calendar: let one batch at a time, of all processes, decide what is booked.
--     It must be a statement of its own: the next one's snapshot is taken once the lock is held
-- Params:  none
-- Locks:   advisory lock 3, until the transaction ends
-- Rows:    locked void; one
-- Index:   none, no table is read
SELECT pg_advisory_xact_lock(1383036780, 3) AS locked
