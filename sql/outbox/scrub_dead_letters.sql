-- outbox/scrub_dead_letters: remove usernames from the payloads of users' events that were refused
-- Params:  $1 user_ids bigint[]   unique
-- Locks:   the rows changed; the caller holds outbox/lock_dead_letters
-- Rows:    none
-- Index:   none, there should be few
UPDATE outbox_dead_letters
SET payload = payload - 'username'
WHERE
    name IN ('user.created', 'benefit_order.placed')
    AND payload ->> 'user_id' = any($1::bigint[]::text[])
    AND payload ? 'username'
