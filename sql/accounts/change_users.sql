-- accounts/change_users: write users' addresses, and their first and last names
-- Params:  $1 user_ids bigint[]     unique
--          $2 emails text?[]        same length, each once
--          $3 email_keys text?[]    same length, each once
--          $4 first_names text[]    same length
--          $5 last_names text[]     same length
-- Locks:   none new; the caller holds accounts/lock_people, or accounts/lock_profiles if addresses
--          stay. An address that another transaction is taking is waited for
-- Rows:    none
-- Index:   users_pkey
UPDATE users
SET
    email = new.email,
    email_key = new.email_key,
    first_name = new.first_name,
    last_name = new.last_name
FROM
    unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
        AS new (id, email, email_key, first_name, last_name)
WHERE users.id = new.id
