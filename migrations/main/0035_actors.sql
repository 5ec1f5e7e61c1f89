-- Who made the request that moved money or caused an event.
-- depends: 0034_own_answers

-- In the order in which requests lock them. No CHECK: only the services write it, and it would be
-- looked at for each entry.
ALTER TABLE ledger_entries ADD COLUMN actor text;
ALTER TABLE outbox_dead_letters ADD COLUMN actor text;
ALTER TABLE outbox ADD COLUMN actor text;

COMMENT ON COLUMN ledger_entries.actor IS
'Who moved the money: token, auth0|SUB, project:ID, anonymous, cli, or system for a background '
'task such as the settlement of orders; null if release 0.1.0 did.';
COMMENT ON COLUMN outbox_dead_letters.actor IS 'As in the outbox.';
COMMENT ON COLUMN outbox.actor IS
'Who caused it: token, auth0|SUB, project:ID, anonymous, cli, or system for a background task '
'such as the settlement of orders; null if release 0.1.0 wrote it.';
