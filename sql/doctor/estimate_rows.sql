-- doctor/estimate_rows: estimate how many rows there are to go through, for a progress bar
-- Params:  none
-- Locks:   none
-- Rows:    users bigint, orders bigint, refunds bigint, invoices bigint, transfers bigint; one
-- Index:   none, the system catalogue
SELECT
    (
        SELECT greatest(reltuples, 0)::bigint
        FROM pg_class
        WHERE oid = 'users'::regclass
    ) AS users,
    (
        SELECT greatest(reltuples, 0)::bigint
        FROM pg_class
        WHERE oid = 'orders'::regclass
    ) AS orders,
    (
        SELECT greatest(reltuples, 0)::bigint
        FROM pg_class
        WHERE oid = 'refunds'::regclass
    ) AS refunds,
    (
        SELECT greatest(reltuples, 0)::bigint
        FROM pg_class
        WHERE oid = 'invoices'::regclass
    ) AS invoices,
    (
        SELECT greatest(reltuples, 0)::bigint
        FROM pg_class
        WHERE oid = 'transfers'::regclass
    ) AS transfers
