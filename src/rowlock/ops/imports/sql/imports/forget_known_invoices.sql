-- imports/forget_known_invoices: leave out the staged invoices that are there already: with the
--     reference, the user and the amount of one
-- Params:  none
-- Locks:   none, the rows removed are this session's alone
-- Rows:    forgotten bigint; one
-- Index:   invoices_reference_key
WITH forgotten AS (
    DELETE FROM import_invoices
    USING invoices
    WHERE
        import_invoices.reference = invoices.reference
        AND invoices.reference IS NOT NULL
        AND import_invoices.user_id = invoices.user_id
        AND import_invoices.amount = invoices.amount
    RETURNING import_invoices.ordinal
)

SELECT count(*) AS forgotten
FROM forgotten
