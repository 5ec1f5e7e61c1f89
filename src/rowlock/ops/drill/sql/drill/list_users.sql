-- drill/list_users: audit after a drill: every user
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, username text, email text?, first_name text, last_name text, balance bigint;
--          one per user
-- Index:   none, every row is read
SELECT
    id,
    username,
    email,
    first_name,
    last_name,
    balance
FROM users
