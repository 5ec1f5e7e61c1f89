-- cluster/describe_server: tell whether the server is a standby, and of which cluster; for a
--     primary, its timeline, which rises with each promotion
-- Params:  none
-- Locks:   none
-- Rows:    in_recovery boolean, timeline bigint?, system_identifier bigint; one; no timeline of a
--          standby
-- Index:   none, no table is read
SELECT
    pg_is_in_recovery() AS in_recovery,
    -- The first 8 digits of a WAL file's name, which are hexadecimal.
    CASE
        WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
    END AS timeline,
    control.system_identifier
FROM pg_control_system() AS control
