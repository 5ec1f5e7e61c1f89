-- Purpose: let new users get ids beyond those that were imported
-- Params:  $1 last_id bigint
-- Locks:   none
-- Rows:    last_id bigint; one
-- Index:   none, only the sequence is read
SELECT setval('users_id_seq', greatest($1, last_value)) AS last_id
FROM users_id_seq
