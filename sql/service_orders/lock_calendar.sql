-- service_orders/lock_calendar: let one batch at a time, of all processes, decide what is booked.
--     It must be a statement of its own: the next one's snapshot is taken once the lock is held
-- Params:  none
-- Locks:   advisory, until the end of the transaction, under the name of the table:
--          select objid::regclass from pg_locks where classid = 'pg_class'::regclass
-- Rows:    locked boolean; one
-- Index:   none, no table is read
SELECT
    pg_advisory_xact_lock('pg_class'::regclass::oid::int, 'service_orders'::regclass::oid::int)
    IS NOT NULL AS locked
