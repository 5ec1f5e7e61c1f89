-- keys/delete_keys: delete keys with their secrets
-- Params:  $1 key_ids bigint[]   unique
-- Locks:   none new; the caller holds keys/lock_keys
-- Rows:    none
-- Index:   api_keys_pkey
DELETE FROM api_keys
WHERE id = any($1::bigint[])
