COMMENT ON COLUMN deployments.position IS
'Place in the list, from 1 without a gap: a page is looked up by it, the largest tells how many. '
'Drawn under projects/lock_positions.';
COMMENT ON COLUMN projects.position IS
'Place in the list, from 1 without a gap: a page is looked up by it, the largest tells how many. '
'Drawn under projects/lock_positions.';
DROP TABLE leases;
