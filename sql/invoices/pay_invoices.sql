-- invoices/pay_invoices: mark invoices as paid, as decided by invoices.rules
-- Params:  $1 invoice_ids bigint[]   unique
-- Locks:   none new; the caller holds invoices/lock_invoices and accounts/lock_users
-- Rows:    id bigint, paid_at timestamptz; one per input: now, but not before the last ledger
--          entry of the invoice's user
-- Index:   invoices_pkey, ledger_entries_pkey
UPDATE invoices
SET
    status = 'paid',
    -- The transaction's now() may be older than what it has waited for.
    paid_at = greatest(
        statement_timestamp(),
        (
            SELECT last.created_at
            FROM ledger_entries AS last
            WHERE last.user_id = invoices.user_id
            ORDER BY last.id DESC
            LIMIT 1
        )
    )
WHERE id = any($1::bigint[])
RETURNING id, paid_at
