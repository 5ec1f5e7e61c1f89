-- drill/list_users: audit after a drill: every user
-- Params:  none
-- Locks:   none
-- Rows:    id bigint, username text, balance bigint; one per user
-- Index:   none, every row is read
SELECT
    id,
    username,
    balance
FROM users
