-- Subscriptions: to which addresses events are posted, and what became of it.
-- depends: 0012_leases

CREATE TABLE subscriptions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    names text[] NOT NULL CHECK (cardinality(names) BETWEEN 1 AND 50),
    subject text CHECK (length(subject) BETWEEN 1 AND 200),
    description text CHECK (length(description) BETWEEN 1 AND 500),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'ended')),
    reason text CHECK (reason IN ('by_hand', 'failing', 'backlog', 'gone')),
    secret text NOT NULL CHECK (length(secret) BETWEEN 1 AND 100),
    old_secret text CHECK (length(old_secret) BETWEEN 1 AND 100),
    old_secret_until timestamptz,
    starts_after bigint NOT NULL CHECK (starts_after >= 0),
    recover_after bigint CHECK (recover_after >= 0),
    recover_until bigint CHECK (recover_until >= 0),
    recover_since timestamptz,
    delivered bigint NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    failed bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
    failing_since timestamptz,
    last_problem text CHECK (length(last_problem) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    CONSTRAINT subscriptions_inactive_check CHECK ((status = 'active') = (reason IS NULL)),
    CONSTRAINT subscriptions_overlap_check CHECK (
        (old_secret IS NULL) = (old_secret_until IS NULL)
    ),
    CONSTRAINT subscriptions_recovery_check CHECK (
        num_nulls(recover_after, recover_until, recover_since) IN (0, 3)
    )
)
-- The dispatcher counts here again and again, and changes no index: rows stay on their pages.
WITH (fillfactor = 50);

COMMENT ON TABLE subscriptions IS
'To which addresses events are posted, signed. At most 1,000; made under events/lock_log.';
COMMENT ON COLUMN subscriptions.id IS 'Key, drawn, never again.';
COMMENT ON COLUMN subscriptions.url IS
'Where events are posted. Its query may be a credential: logs have the id instead.';
COMMENT ON COLUMN subscriptions.names IS
'Names of the events: invoice.paid, invoice.* for all that begin with invoice., or * for all.';
COMMENT ON COLUMN subscriptions.subject IS 'Only events of this subject; null: of any.';
COMMENT ON COLUMN subscriptions.description IS 'Of whoever made it; null: none.';
COMMENT ON COLUMN subscriptions.status IS
'active; disabled: nothing is posted until it is enabled; ended: its receiver has answered 410.';
COMMENT ON COLUMN subscriptions.reason IS
'Why it is not active. by_hand; failing: it failed for too long; backlog: too many deliveries '
'waited; gone: 410. Null while it is active.';
COMMENT ON COLUMN subscriptions.secret IS
'What deliveries are signed with: whsec_ and base64 of 32 random bytes. Readable, as it has to '
'sign: who reads this table can sign.';
COMMENT ON COLUMN subscriptions.old_secret IS
'The one before, with which deliveries are signed as well for a while; null: none.';
COMMENT ON COLUMN subscriptions.old_secret_until IS 'Until when; null: there is none.';
COMMENT ON COLUMN subscriptions.starts_after IS
'Events above this place in the log are posted, and none before: those since it was made or '
'enabled.';
COMMENT ON COLUMN subscriptions.recover_after IS
'Past events up to this place are queued again already; null: no recovery is asked for.';
COMMENT ON COLUMN subscriptions.recover_until IS 'The last place to recover; null: as above.';
COMMENT ON COLUMN subscriptions.recover_since IS
'Events of this time and later are recovered; null: as above.';
COMMENT ON COLUMN subscriptions.delivered IS 'Deliveries that were answered with 2xx.';
COMMENT ON COLUMN subscriptions.failed IS 'Attempts that were not.';
COMMENT ON COLUMN subscriptions.failing_since IS
'The first failure since the last success; null: the last attempt succeeded.';
COMMENT ON COLUMN subscriptions.last_problem IS
'What was wrong with the last attempt, such as http_500; null: as above.';
COMMENT ON COLUMN subscriptions.created_at IS 'Start of the transaction that made it.';
COMMENT ON COLUMN subscriptions.created_by IS 'The actor that made it.';

CREATE TABLE deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id bigint NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    event_id bigint,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    status text NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL CHECK (attempts >= 0),
    problem text CHECK (length(problem) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    due_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT deliveries_due_at_check CHECK ((status = 'pending') = (due_at IS NOT NULL)),
    CONSTRAINT deliveries_finished_at_check CHECK ((status = 'pending') = (finished_at IS NULL))
);

-- Serves subscriptions/list_due and the disabling of a subscription.
CREATE INDEX deliveries_due_idx ON deliveries (subscription_id, due_at) WHERE status = 'pending';
-- Serves subscriptions/list_deliveries, subscriptions/purge_delivered and the removal of a
-- subscription's deliveries.
CREATE INDEX deliveries_status_idx ON deliveries (subscription_id, status, id);
-- Serves subscriptions/purge_failed.
CREATE INDEX deliveries_failed_idx ON deliveries (finished_at) WHERE status = 'failed';

COMMENT ON TABLE deliveries IS
'Events that were posted or are to be posted again, by subscription. Those that failed are purged '
'after a while; of those that were delivered, each subscription keeps the last ones.';
COMMENT ON COLUMN deliveries.id IS 'Key, drawn, never again.';
COMMENT ON COLUMN deliveries.subscription_id IS 'Whose it is.';
COMMENT ON COLUMN deliveries.event_id IS
'The place of the event in the log: events.id. Not a foreign key, which would keep partitions from '
'being dropped. Null: a test, which has no event.';
COMMENT ON COLUMN deliveries.name IS 'The name of the event; subscription.test for a test.';
COMMENT ON COLUMN deliveries.status IS
'pending: to be tried at due_at; delivered: answered with 2xx; failed: given up.';
COMMENT ON COLUMN deliveries.attempts IS 'How often it was posted, since it was last asked for.';
COMMENT ON COLUMN deliveries.problem IS
'What was wrong with the last attempt, such as http_500 or timeout; null: nothing.';
COMMENT ON COLUMN deliveries.created_at IS 'When it was noted here.';
COMMENT ON COLUMN deliveries.due_at IS 'When it is tried next; null unless it is pending.';
COMMENT ON COLUMN deliveries.finished_at IS
'When it was delivered or given up; null while it is pending.';

CREATE TABLE dispatch_cursor (
    only_one boolean PRIMARY KEY DEFAULT TRUE CHECK (only_one),
    position bigint NOT NULL CHECK (position >= 0),
    version bigint NOT NULL DEFAULT 0
);

INSERT INTO dispatch_cursor (position) SELECT coalesce(max(id), 0) FROM events;

COMMENT ON TABLE dispatch_cursor IS 'One row: how far the log is dispatched to subscriptions.';
COMMENT ON COLUMN dispatch_cursor.only_one IS 'Key; always true, so there is one row.';
COMMENT ON COLUMN dispatch_cursor.position IS
'All deliveries of events up to this place are done, or in deliveries.';
COMMENT ON COLUMN dispatch_cursor.version IS
'Rises with each change of subscriptions. The dispatcher reads it with the log, and so knows of '
'each subscription before it passes an event that the subscription is to get.';
