-- cluster/describe_replication: tell which server and database this is, and how far it is: what a
--     primary has on disk, or what a standby has replayed
-- Params:  none
-- Locks:   none
-- Rows:    in_recovery boolean, system_identifier bigint, database_oid bigint,
--          started timestamptz, timeline bigint?, position bigint?; one; the timeline of a standby
--          only where the role may see it, and while it receives
-- Index:   none, the catalogue is read
SELECT
    pg_is_in_recovery() AS in_recovery,
    control.system_identifier,
    own_database.oid::bigint AS database_oid,
    pg_postmaster_start_time() AS started,
    CASE
        WHEN pg_is_in_recovery()
            -- Its columns are null for a role without pg_read_all_stats.
            THEN (SELECT receiver.received_tli FROM pg_stat_wal_receiver AS receiver)::bigint
        ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
    END AS timeline,
    CASE
        WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0'::pg_lsn
        -- Standbys get nothing before it is on disk here.
        ELSE pg_current_wal_flush_lsn() - '0/0'::pg_lsn
    END::bigint AS position
FROM pg_control_system() AS control
CROSS JOIN pg_database AS own_database
WHERE own_database.datname = current_database()
