-- cluster/describe_connections: tell how many connections the server gives, and to this role and
--     database
-- Params:  none
-- Locks:   none
-- Rows:    most integer, reserved integer, role_limit integer, database_limit integer,
--          backend_pid integer; one; a limit of -1 is none
-- Index:   none, the catalogue is read
SELECT
    current_setting('max_connections')::integer AS most,
    current_setting('superuser_reserved_connections')::integer
    -- From PostgreSQL 16 on.
    + coalesce(current_setting('reserved_connections', true), '0')::integer AS reserved,
    own_role.rolconnlimit AS role_limit,
    own_database.datconnlimit AS database_limit,
    pg_backend_pid() AS backend_pid
FROM pg_roles AS own_role
CROSS JOIN pg_database AS own_database
WHERE
    own_role.rolname = session_user
    AND own_database.datname = current_database()
