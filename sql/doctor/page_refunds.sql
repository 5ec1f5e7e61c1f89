-- doctor/page_refunds: find where a page of refunds ends, to go through all of them
-- Params:  $1 after bigint       only refunds with a higher id
--          $2 page_size bigint
-- Locks:   none
-- Rows:    last_id bigint?; one: the highest id of the page, null if there are no more
-- Index:   refunds_pkey
SELECT max(page.id) AS last_id
FROM (
    SELECT id
    FROM refunds
    WHERE id > $1
    ORDER BY id
    LIMIT $2
) AS page
