-- Keys of names and addresses, what a deployment is of and why it failed, secrets that are
-- replaced, and the ids of service orders that are gone.
-- depends: 0027_event_identity

-- In the order in which requests lock them: documents, then what they belong to.
CREATE TABLE gone_service_orders (
    ids int8range NOT NULL
);

COMMENT ON TABLE gone_service_orders IS
'Ids of service orders that no new order may have: those of deleted orders, and all that were '
'drawn before this table was made. A row per deletion. Written by a trigger alone.';
COMMENT ON COLUMN gone_service_orders.ids IS 'One id, or a range of them.';

-- Serves service_orders/find_used_ids.
CREATE INDEX gone_service_orders_ids_idx ON gone_service_orders USING gist (ids);

-- With the owner's rights: release 0.1.0 deletes orders, too, and its role has no grant here.
CREATE FUNCTION remember_gone_service_orders() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
BEGIN
    INSERT INTO public.gone_service_orders (ids)
    SELECT int8range(id, id, '[]') FROM gone;
    RETURN null;
END
$$;

COMMENT ON FUNCTION remember_gone_service_orders() IS
'Trigger function: keeps the ids of deleted service orders, so that none is given out again.';
REVOKE ALL ON FUNCTION remember_gone_service_orders() FROM public;

CREATE TRIGGER service_orders_gone
AFTER DELETE ON service_orders
REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION remember_gone_service_orders();

COMMENT ON TRIGGER service_orders_gone ON service_orders IS
'Adds the ids of deleted orders to gone_service_orders.';

-- Which of these were orders once, nothing tells any more.
INSERT INTO gone_service_orders (ids)
SELECT int8range(1, last_value, '[]')
FROM service_orders_id_seq
WHERE is_called;

ALTER TABLE deployments
ADD COLUMN branch text,
ADD COLUMN commit text,
ADD COLUMN reason text,
ADD COLUMN moved_at timestamptz,
ADD CONSTRAINT deployments_branch_check CHECK (length(branch) BETWEEN 1 AND 255) NOT VALID,
ADD CONSTRAINT deployments_commit_check CHECK (length(commit) BETWEEN 1 AND 255) NOT VALID,
ADD CONSTRAINT deployments_reason_check
CHECK (reason IS NULL OR (reason = 'timed_out' AND status = 'failed')) NOT VALID;

COMMENT ON COLUMN deployments.branch IS 'The branch to deploy; null if the client named none.';
COMMENT ON COLUMN deployments.commit IS 'The commit to deploy; null if the client named none.';
COMMENT ON COLUMN deployments.reason IS
'Why it failed, if the service ended it: timed_out, as no report came in time. Null otherwise.';
COMMENT ON COLUMN deployments.moved_at IS
'When its status last changed; null if it never has.';

-- For those that release 0.1.0 moves: it does not know the column.
CREATE FUNCTION note_deployment_move() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.moved_at := statement_timestamp();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION note_deployment_move() IS
'Trigger function: notes when a deployment''s status changed.';

CREATE TRIGGER deployments_moved
BEFORE UPDATE ON deployments
FOR EACH ROW WHEN (
    old.status IS DISTINCT FROM new.status AND old.moved_at IS NOT DISTINCT FROM new.moved_at
)
EXECUTE FUNCTION note_deployment_move();

COMMENT ON TRIGGER deployments_moved ON deployments IS
'Notes the time of a change of status by release 0.1.0, which does not note it itself.';

-- When those under way were moved last, nothing tells: their time limit starts now.
UPDATE deployments SET moved_at = now()
WHERE status IN ('pending', 'building', 'deploying');

ALTER TABLE users
ADD COLUMN name_key text,
ADD COLUMN email_key text,
ADD CONSTRAINT users_name_key_check CHECK (length(name_key) BETWEEN 1 AND 500) NOT VALID,
ADD CONSTRAINT users_email_key_check CHECK (length(email_key) BETWEEN 1 AND 500) NOT VALID;

COMMENT ON COLUMN users.name_key IS
'What the username is compared by, as accounts/names.py derives it; unique. Null if an older user '
'has this key, or until rowlock migrate up has given one to a user of release 0.1.0.';
COMMENT ON COLUMN users.email_key IS
'What the address is compared by, as for name_key. Personal data.';

ALTER TABLE projects
ADD COLUMN previous_secret text,
ADD COLUMN previous_secret_until timestamptz,
ADD CONSTRAINT projects_previous_secret_check
CHECK (
    length(previous_secret) BETWEEN 1 AND 255
    AND (previous_secret IS NULL) = (previous_secret_until IS NULL)
) NOT VALID;

COMMENT ON COLUMN projects.previous_secret IS
'Secret: the one before the last replacement, which still proves webhooks for a while.';
COMMENT ON COLUMN projects.previous_secret_until IS 'When the previous secret ends to be valid.';
