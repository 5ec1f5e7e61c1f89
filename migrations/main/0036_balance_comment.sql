-- Says that several statements move balances, each together with the ledger entries.
-- depends: 0035_actors

COMMENT ON COLUMN users.balance IS
'Minor units (cents), never negative. Changed only by statements that write the ledger entries of '
'the change, too: at all times the sum of the user''s ledger entries.';
