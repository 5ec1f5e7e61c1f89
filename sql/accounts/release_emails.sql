-- accounts/release_emails: take the addresses of users away, so that others of a batch can get them
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   none new; the caller holds accounts/lock_people
-- Rows:    none
-- Index:   users_pkey
UPDATE users
SET
    email = NULL,
    email_key = NULL
WHERE id = any($1::bigint[])
