-- Work that operators ask for, and indexes of dead letters.
-- depends: 0072_deployment_lists

-- squawk-ignore-file require-concurrent-index-creation
CREATE TABLE jobs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    wanted JSONB NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT,
    total BIGINT NOT NULL CHECK (total >= 0),
    done BIGINT NOT NULL DEFAULT 0,
    skipped BIGINT NOT NULL DEFAULT 0,
    place TEXT NOT NULL DEFAULT '',
    outcome TEXT,
    result JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT statement_timestamp(),
    moved_at TIMESTAMPTZ NOT NULL DEFAULT statement_timestamp(),
    finished_at TIMESTAMPTZ
);

-- At most one job of a kind is under way. Serves jobs/take, jobs/stop and jobs/end_silent.
CREATE UNIQUE INDEX jobs_under_way_key ON jobs (kind) WHERE finished_at IS NULL;
-- Serves jobs/find_newest and jobs/forget.
CREATE INDEX jobs_kind_idx ON jobs (kind, id);

COMMENT ON TABLE jobs IS
'Work that operators ask for and that takes many transactions, such as sending all dead letters '
'again. The last twenty of a kind are kept.';
COMMENT ON COLUMN jobs.id IS 'Later jobs have higher ids.';
COMMENT ON COLUMN jobs.kind IS 'What is done.';
COMMENT ON COLUMN jobs.wanted IS 'What it is done to: the filters that were asked for.';
COMMENT ON COLUMN jobs.actor IS 'Who has asked for it; its events name them.';
COMMENT ON COLUMN jobs.request_id IS 'The id of the request that has asked for it.';
COMMENT ON COLUMN jobs.total IS 'How many were counted when it was asked for.';
COMMENT ON COLUMN jobs.done IS 'How many are done.';
COMMENT ON COLUMN jobs.skipped IS 'How many could not be done.';
COMMENT ON COLUMN jobs.place IS
'Where it goes on: what is before is done, in the transaction that has written this. Empty: at the '
'beginning.';
COMMENT ON COLUMN jobs.outcome IS 'How it has ended: done, stopped or failed. Null: not yet.';
COMMENT ON COLUMN jobs.result IS 'What it has found out, if that is its purpose.';
COMMENT ON COLUMN jobs.created_at IS 'When it was asked for.';
COMMENT ON COLUMN jobs.moved_at IS 'When it last got on.';
COMMENT ON COLUMN jobs.finished_at IS 'When it has ended; null while it is under way.';

-- Few rows are here, and only the relay adds any: not CONCURRENTLY.
-- Serves outbox/list_dead_letters, outbox/count_dead_letters and outbox/group_dead_letters.
CREATE INDEX outbox_dead_letters_refused_idx ON outbox_dead_letters (refused_at, event_id);
-- Serves outbox/page_dead.
CREATE INDEX outbox_dead_letters_created_idx ON outbox_dead_letters (created_at, event_id);
