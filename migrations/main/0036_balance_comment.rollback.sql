COMMENT ON COLUMN users.balance IS
'Minor units (cents), never negative. Written by accounts/post_entries alone: at all times the '
'sum of the user''s ledger entries.';
