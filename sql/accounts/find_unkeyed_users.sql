-- accounts/find_unkeyed_users: read users whose name or address has no key: an earlier release
--     wrote them, or an older user's is the same
-- Params:  $1 after bigint       only users with a higher id
--          $2 page_size bigint
-- Locks:   none
-- Rows:    id bigint, username text, name_key text?, email text?, email_key text?; page_size at
--          most, in the order of id
-- Index:   users_unkeyed_idx
SELECT
    id,
    username,
    name_key,
    email,
    email_key
FROM users
WHERE
    id > $1
    AND (name_key IS NULL OR (email IS NOT NULL AND email_key IS NULL))
ORDER BY id
LIMIT $2
