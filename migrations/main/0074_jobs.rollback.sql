DROP INDEX IF EXISTS outbox_dead_letters_created_idx;
DROP INDEX IF EXISTS outbox_dead_letters_refused_idx;
DROP TABLE IF EXISTS jobs;
