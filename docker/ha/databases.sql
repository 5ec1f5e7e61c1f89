-- Once, on the new cluster's primary, as its superuser:
--     envsubst < databases.sql | psql -h HOST -U postgres
CREATE ROLE rowlock LOGIN PASSWORD '${DATABASE_PASSWORD}';
CREATE DATABASE rowlock OWNER rowlock;
CREATE DATABASE rowlock_events OWNER rowlock;
-- What a pooler in transaction mode would lose, if it were set by the session.
ALTER ROLE rowlock SET synchronous_commit = 'on';
ALTER ROLE rowlock SET statement_timeout = '5s';
ALTER ROLE rowlock SET lock_timeout = '500ms';
ALTER ROLE rowlock SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE rowlock SET jit = 'off';
