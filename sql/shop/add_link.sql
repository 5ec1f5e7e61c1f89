-- shop/add_link: keep a link that signs a user in to the shop
-- Params:  $1 digest bytea            SHA-256 of its secret
--          $2 user_id bigint
--          $3 lifetime interval
-- Locks:   users row FOR KEY SHARE, by the reference
-- Rows:    expires_at timestamptz; one if there is such a user, else none
-- Index:   users_pkey
INSERT INTO shop_links (digest, user_id, expires_at)
SELECT
    $1 AS digest,
    id,
    statement_timestamp() + $3 AS expires_at
FROM users
WHERE id = $2 AND anonymised_at IS NULL
RETURNING expires_at
