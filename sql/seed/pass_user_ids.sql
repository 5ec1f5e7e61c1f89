-- seed/pass_user_ids: let new users get ids beyond those that were imported
-- Params:  $1 last_id bigint
-- Locks:   none. Ids beyond last_id that others draw between the look at the sequence and its move
--          are drawn again, and users_pkey refuses them; it takes a sequence close to last_id
-- Rows:    last_id bigint; one, none if new ids are beyond it already
-- Index:   none, only the sequence is read
SELECT setval('users_id_seq', $1) AS last_id
FROM users_id_seq
WHERE (last_value, is_called) < ($1, true)
