-- epochs/check_session: tell whether epochs/mark_session has marked this session, by the number of
--     rows: it is run with BEGIN, in one message
-- Params:  none
-- Locks:   none
-- Rows:    mark text; one, none if the session has no mark
-- Index:   none, no table is read
SELECT 'holds' AS mark
WHERE current_setting('rowlock.epoch', true) = 'holds'
