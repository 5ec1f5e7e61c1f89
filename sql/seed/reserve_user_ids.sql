-- Purpose: draw ids for users that are about to be copied in
-- Params:  $1 how_many bigint
-- Locks:   none
-- Rows:    id bigint; how_many
-- Index:   none, no table is read
SELECT nextval('users_id_seq') AS id
FROM generate_series(1, $1::bigint)
