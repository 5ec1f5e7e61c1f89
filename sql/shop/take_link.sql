-- shop/take_link: use a link up, if it is still valid; of two at once, only one gets it
-- Params:  $1 digest bytea   SHA-256 of its secret
-- Locks:   shop_links row, removed
-- Rows:    user_id bigint, username text; one, or none
-- Index:   shop_links_pkey, users_pkey
DELETE FROM shop_links
USING users
WHERE
    shop_links.digest = $1
    AND shop_links.expires_at > statement_timestamp()
    AND users.id = shop_links.user_id
    AND users.anonymised_at IS NULL
RETURNING users.id AS user_id, users.username
