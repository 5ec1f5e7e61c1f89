-- seed/add_load_users: add those of the users load-first to load-last that are missing, for load
--     tests, each with its opening entry
-- Params:  $1 first bigint
--          $2 last bigint
--          $3 balance bigint   minor units
-- Locks:   the new rows; a name that another transaction is creating is waited for
-- Rows:    none
-- Index:   users_username_key
WITH wanted AS (
    SELECT
        number,
        'load-' || number AS username
    FROM generate_series($1::bigint, $2::bigint) AS load (number)
),

added AS (
    INSERT INTO users (username, name_key, first_name, last_name, balance)
    SELECT
        wanted.username,
        wanted.username AS name_key,
        'Load' AS first_name,
        wanted.number::text AS last_name,
        $3 AS balance
    FROM wanted
    -- ON CONFLICT alone would draw an id for each user who is there. NOT EXISTS would be a join,
    -- planned while there are few users, which goes on to read all of them each time.
    WHERE
        (
            SELECT users.id
            FROM users
            WHERE users.username = wanted.username
        ) IS NULL
    ORDER BY wanted.number
    ON CONFLICT DO NOTHING
    RETURNING id, balance
)

INSERT INTO ledger_entries (
    user_id, amount, balance_after, reason, reference, document_kind, document_id, contra, actor
)
SELECT
    id,
    balance AS amount,
    balance AS balance_after,
    'opening_balance' AS reason,
    'user:' || id AS reference,
    'opening' AS document_kind,
    id AS document_id,
    'opening' AS contra,
    'cli' AS actor
FROM added
