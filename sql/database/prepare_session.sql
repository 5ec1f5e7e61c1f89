-- database/prepare_session: bound what this connection may wait for; plans are too short to be
--     worth compiling; a batch reads no whole table, whatever the statistics say; a COMMIT is on
--     disk before it is acknowledged, or applied by standbys where that is asked for. Tell whether
--     the server is a standby, and which of its sessions this is
-- Params:  $1 statement_timeout text                     such as 5000ms
--          $2 lock_timeout text
--          $3 idle_in_transaction_session_timeout text
--          $4 enable_seqscan text                        on or off
-- Locks:   none
-- Rows:    statement_timeout text, lock_timeout text, idle_timeout text, enable_seqscan text,
--          jit text, synchronous_commit text, in_recovery boolean, backend_pid integer; one
-- Index:   none, no table is read
SELECT
    set_config('statement_timeout', $1, false) AS statement_timeout,
    set_config('lock_timeout', $2, false) AS lock_timeout,
    set_config('idle_in_transaction_session_timeout', $3, false) AS idle_timeout,
    set_config('enable_seqscan', $4, false) AS enable_seqscan,
    set_config('jit', 'off', false) AS jit,
    set_config(
        'synchronous_commit',
        CASE current_setting('synchronous_commit')
            WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on'
        END,
        false
    ) AS synchronous_commit,
    pg_is_in_recovery() AS in_recovery,
    pg_backend_pid() AS backend_pid
