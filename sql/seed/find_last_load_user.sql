-- Purpose: tell how many load-test users there are: load-1, load-2 and so on
-- Params:  none
-- Locks:   none
-- Rows:    number bigint; one, 0 if there is none
-- Index:   none, every user is read
SELECT coalesce(max(substr(username, 6)::bigint), 0) AS number
FROM users
WHERE username ~ '^load-[0-9]{1,12}$'
