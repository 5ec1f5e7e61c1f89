-- imports/add_users: add a page of the staged users, with their opening entries and events
-- Params:  $1 after bigint   ordinal
--          $2 upto bigint    ordinal
--          $3 actor text
-- Locks:   the new rows, users and ledger_entries; a name that another transaction is creating is
--          waited for
-- Rows:    added bigint; one
-- Index:   none, the page is from a table of this session's
WITH page AS (
    SELECT *
    FROM import_users
    WHERE ordinal > $1 AND ordinal <= $2
    ORDER BY ordinal
),

added AS (
    INSERT INTO users (
        id,
        username,
        name_key,
        email,
        email_key,
        first_name,
        last_name,
        balance,
        created_at
    )
    SELECT
        coalesce(id, nextval('users_id_seq')) AS id,
        username,
        name_key,
        email,
        email_key,
        first_name,
        last_name,
        opening_balance AS balance,
        coalesce(created_at, statement_timestamp()) AS created_at
    FROM page
    RETURNING id, balance, created_at
),

opened AS (
    INSERT INTO ledger_entries (
        user_id,
        amount,
        balance_after,
        reason,
        reference,
        document_kind,
        document_id,
        contra,
        actor,
        created_at
    )
    SELECT
        id AS user_id,
        balance AS amount,
        balance AS balance_after,
        'opening_balance' AS reason,
        'user:' || id AS reference,
        'opening' AS document_kind,
        id AS document_id,
        'opening' AS contra,
        $3 AS actor,
        statement_timestamp() AS created_at
    FROM added
    WHERE balance > 0
),

told AS (
    INSERT INTO outbox (name, subject, payload, actor, created_at)
    SELECT
        'user.created' AS name,
        'user:' || id AS subject,
        jsonb_build_object(
            'user_id', id,
            'balance', balance,
            'user_created_at',
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) AS payload,
        $3 AS actor,
        statement_timestamp() AS created_at
    FROM added
)

SELECT count(*) AS added
FROM added
