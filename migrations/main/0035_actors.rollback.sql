ALTER TABLE outbox DROP COLUMN actor;
ALTER TABLE outbox_dead_letters DROP COLUMN actor;
ALTER TABLE ledger_entries DROP COLUMN actor;
