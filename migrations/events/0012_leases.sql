-- Leases, and answers kept by Idempotency-Key. The tables are those of the main database, so that
-- the statements are the same. Leases end with an epoch of the cluster, as they do there.
-- depends: 0011_log_identity

CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL CHECK (epoch > 0),
    since timestamptz NOT NULL,
    expires timestamptz NOT NULL
);

COMMENT ON TABLE leases IS
'What only one process may do at a time, a row each. A holder renews its lease; one that does '
'not is replaced. Its writes are conditional on its epoch, so that it can''t go on once it is '
'replaced.';
COMMENT ON COLUMN leases.name IS 'What it is for: dispatcher.';
COMMENT ON COLUMN leases.holder IS 'The process that holds it or held it last, as machine:pid.';
COMMENT ON COLUMN leases.epoch IS 'Rises by one whenever a process takes it.';
COMMENT ON COLUMN leases.since IS 'When the holder took it.';
COMMENT ON COLUMN leases.expires IS
'When another process may take it, by the clock of the database.';

CREATE TABLE idempotency_keys (
    service text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    status smallint NOT NULL CHECK (status BETWEEN 200 AND 499),
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    normal_digest bytea,
    noted_at timestamptz,
    user_id bigint,
    PRIMARY KEY (service, key)
);

-- Serves idempotency/purge_answers.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
-- Serves idempotency/scrub_answers.
CREATE INDEX idempotency_keys_user_id_idx ON idempotency_keys (user_id)
WHERE user_id IS NOT NULL;

COMMENT ON TABLE idempotency_keys IS
'What was answered to requests with an Idempotency-Key, written by the transaction of their '
'effect. Only added, taken over once expired, and purged in the background.';
COMMENT ON COLUMN idempotency_keys.service IS
'Whose keys it is among: events, for holders of the service''s token; events and an API key, such '
'as events key:7, for that key.';
COMMENT ON COLUMN idempotency_keys.key IS
'As the client chose it, without quotes; 1 to 255 characters.';
COMMENT ON COLUMN idempotency_keys.digest IS
'SHA-256 of the request as it was sent: the same key with another request is refused. The request '
'itself is not kept.';
COMMENT ON COLUMN idempotency_keys.status IS
'The HTTP status answered, 200 to 499: faults are not kept.';
COMMENT ON COLUMN idempotency_keys.headers IS
'The headers answered that belong to the effect, such as Location.';
COMMENT ON COLUMN idempotency_keys.body IS
'The body answered, byte for byte. That of a new subscription has its secret.';
COMMENT ON COLUMN idempotency_keys.created_at IS
'Start of the transaction; the key expires idempotency_keep_s later.';
COMMENT ON COLUMN idempotency_keys.normal_digest IS
'The same, but with sorted names, no blanks and one form of each number in its JSON.';
COMMENT ON COLUMN idempotency_keys.noted_at IS 'As created_at.';
COMMENT ON COLUMN idempotency_keys.user_id IS 'Null: no answer here shows a user''s names.';

-- The caller has the rights: one of the two functions below.
CREATE FUNCTION end_leases(by_hand boolean)
RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    present record;
BEGIN
    PERFORM pg_advisory_xact_lock(1383036780, 6);
    SELECT * INTO present FROM describe_epoch();
    IF by_hand OR (present.number > 0 AND NOT present.holds) THEN
        UPDATE leases
        SET
            epoch = greatest(
                epoch + 1000000, (extract(EPOCH FROM clock_timestamp()) * 1000)::bigint
            ),
            expires = clock_timestamp();
    END IF;
END
$$;

REVOKE ALL ON FUNCTION end_leases(boolean) FROM public;

COMMENT ON FUNCTION end_leases(boolean) IS
'Ends all leases if a new epoch of the cluster is to be recorded. A lost primary may have given '
'their next epochs, so these go by the clock, in milliseconds. Takes the advisory lock 6, then the '
'rows of leases.';

CREATE OR REPLACE FUNCTION begin_epoch(OUT number bigint, OUT began boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    PERFORM end_leases(false); -- first, as the dispatcher locks its lease before the log
    SELECT opened.number, opened.began INTO number, began FROM open_epoch(false) AS opened;
END
$$;

CREATE OR REPLACE FUNCTION declare_epoch(OUT number bigint)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    PERFORM end_leases(true);
    SELECT opened.number INTO number FROM open_epoch(true) AS opened;
END
$$;
