-- imports/stage_users: make the table for the rows of a file of users, until the session ends
-- Params:  none
-- Locks:   none, the table is this session's alone
-- Rows:    none
-- Index:   none, no table is read
CREATE TEMPORARY TABLE import_users (
    ordinal bigint PRIMARY KEY,
    line bigint NOT NULL,
    id bigint,
    username text NOT NULL,
    name_key text NOT NULL,
    email text,
    email_key text,
    first_name text NOT NULL,
    last_name text NOT NULL,
    opening_balance bigint NOT NULL,
    created_at timestamptz
)
