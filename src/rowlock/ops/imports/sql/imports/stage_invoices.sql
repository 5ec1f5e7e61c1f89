-- imports/stage_invoices: make the table for the rows of a file of invoices, until the session ends
-- Params:  none
-- Locks:   none, the table is this session's alone
-- Rows:    none
-- Index:   none, no table is read
CREATE TEMPORARY TABLE import_invoices (
    ordinal bigint PRIMARY KEY,
    line bigint NOT NULL,
    user_id bigint NOT NULL,
    amount bigint NOT NULL,
    label text NOT NULL,
    reference text,
    created_at timestamptz
)
