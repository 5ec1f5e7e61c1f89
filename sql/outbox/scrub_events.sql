-- outbox/scrub_events: remove usernames from the payloads of users' events; releases up to 0.2.0
--     put them there
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   the rows changed, in their order on disk, as outbox/purge_delivered does; the caller
--          holds outbox/lock_dead_letters, so that no event moves between the log and the dead
--          letters
-- Rows:    none
-- Index:   outbox_names_idx
WITH naming AS MATERIALIZED (
    -- By itself, so that no plan goes through the log in its order to find these few.
    SELECT ctid AS place
    FROM outbox
    WHERE
        name IN ('user.created', 'benefit_order.placed')
        AND payload ->> 'user_id' = any($1::bigint[]::text[])
        AND payload ? 'username'
)

UPDATE outbox
SET payload = outbox.payload - 'username'
-- Not a join: planned while there are few events, it would read all of them.
WHERE outbox.ctid = any(array(SELECT naming.place FROM naming))
