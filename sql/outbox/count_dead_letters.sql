-- outbox/count_dead_letters: count the events that were refused
-- Params:  $1 status integer?       only those; null: all, as for all that follow
--          $2 error text?
--          $3 name text?
--          $4 since timestamptz?    refused then or later
--          $5 until timestamptz?    refused before
-- Locks:   none
-- Rows:    dead_letters bigint; one
-- Index:   outbox_dead_letters_refused_idx
SELECT count(*) AS dead_letters
FROM outbox_dead_letters
WHERE
    refused_at >= coalesce($4::timestamptz, '-infinity')
    AND refused_at < coalesce($5::timestamptz, 'infinity')
    AND ($1::integer IS NULL OR status = $1)
    AND ($2::text IS NULL OR error = $2)
    AND ($3::text IS NULL OR name = $3)
