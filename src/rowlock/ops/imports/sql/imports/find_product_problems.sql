-- imports/find_product_problems: find the staged products that can't be added, each with the first
--     reason
-- Params:  $1 page_size bigint
-- Locks:   none
-- Rows:    ordinal bigint, line bigint, field text, holder_id bigint?, first_ordinal bigint?,
--          first_line bigint?, total bigint; page_size at most, in the order of the file, each with
--          the product or the row of the file that has the same, and how many there are in all
-- Index:   products_slug_key
WITH slugs AS (
    SELECT
        slug,
        min(ordinal) AS ordinal
    FROM import_products
    GROUP BY slug
    HAVING count(*) > 1
),

found AS (
    SELECT
        staged.ordinal,
        1 AS rank,
        NULL::bigint AS holder_id,
        slugs.ordinal AS first_ordinal
    FROM import_products AS staged
    INNER JOIN slugs ON staged.slug = slugs.slug AND staged.ordinal > slugs.ordinal
    UNION ALL
    SELECT
        staged.ordinal,
        2 AS rank,
        products.id AS holder_id,
        NULL AS first_ordinal
    FROM import_products AS staged
    INNER JOIN products ON staged.slug = products.slug
),

reasons AS (
    SELECT DISTINCT ON (ordinal) *
    FROM found
    ORDER BY ordinal, rank
)

SELECT
    reasons.ordinal,
    staged.line,
    'slug' AS field,
    reasons.holder_id,
    reasons.first_ordinal,
    earlier.line AS first_line,
    count(*) OVER () AS total
FROM reasons
INNER JOIN import_products AS staged ON reasons.ordinal = staged.ordinal
LEFT JOIN import_products AS earlier ON reasons.first_ordinal = earlier.ordinal
ORDER BY reasons.ordinal
LIMIT $1
