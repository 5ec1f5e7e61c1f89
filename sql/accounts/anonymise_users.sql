-- accounts/anonymise_users: replace usernames, and remove addresses, first and last names
-- Params:  $1 user_ids bigint[]               unique
--          $2 usernames text[]                same length, unique; each is its own key
--          $3 anonymised_ats timestamptz[]    same length
-- Locks:   none new; the caller holds accounts/lock_people
-- Rows:    none
-- Index:   users_pkey
UPDATE users
SET
    username = new.username,
    name_key = new.username,
    email = NULL,
    email_key = NULL,
    first_name = '',
    last_name = '',
    anonymised_at = new.anonymised_at
FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS new (id, username, anonymised_at)
WHERE users.id = new.id
