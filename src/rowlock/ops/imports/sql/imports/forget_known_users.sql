-- imports/forget_known_users: leave out the staged users that are there already, by name and by id
--     if they have one, or by id alone if they were anonymised: those are not named again
-- Params:  none
-- Locks:   none, the rows removed are this session's alone
-- Rows:    forgotten bigint; one
-- Index:   users_pkey, users_username_key, users_name_key_idx
WITH holders AS (
    SELECT
        staged.ordinal,
        staged.id,
        coalesce(
            (
                SELECT users.id
                FROM users
                WHERE users.username = staged.username
            ),
            (
                SELECT users.id
                FROM users
                WHERE users.name_key = staged.name_key
            )
        ) AS holder_id
    FROM import_users AS staged
),

known AS (
    SELECT ordinal
    FROM holders
    WHERE
        holder_id = coalesce(id, holder_id)
        OR (
            SELECT users.anonymised_at IS NOT NULL
            FROM users
            WHERE users.id = holders.id
        )
),

forgotten AS (
    DELETE FROM import_users
    USING known
    WHERE import_users.ordinal = known.ordinal
    RETURNING import_users.ordinal
)

SELECT count(*) AS forgotten
FROM forgotten
