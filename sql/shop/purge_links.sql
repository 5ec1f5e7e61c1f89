-- shop/purge_links: remove links that have expired unused
-- Params:  $1 page_size bigint   links that are removed at most
-- Locks:   shop_links rows, removed
-- Rows:    purged bigint; one
-- Index:   shop_links_expires_at_idx, shop_links_pkey
WITH old AS (
    SELECT digest
    FROM shop_links
    WHERE expires_at <= statement_timestamp()
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),

gone AS (
    DELETE FROM shop_links
    WHERE digest = any(array(SELECT old.digest FROM old))
    RETURNING digest
)

SELECT count(*) AS purged FROM gone
