-- Leases: who leads, and since when. And comments that name the statements which lock lists.
-- depends: 0022_list_indexes

CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL CHECK (epoch > 0),
    since timestamptz NOT NULL,
    expires timestamptz NOT NULL
);

COMMENT ON TABLE leases IS
'What only one process may do at a time, a row each. A holder renews its lease; one that does '
'not is replaced. Its writes are conditional on its epoch, so that it can''t go on once it is '
'replaced.';
COMMENT ON COLUMN leases.name IS 'What it is for, such as relay.';
COMMENT ON COLUMN leases.holder IS 'The process that holds it or held it last, as machine:pid.';
COMMENT ON COLUMN leases.epoch IS 'Rises by one whenever a process takes it.';
COMMENT ON COLUMN leases.since IS 'When the holder took it.';
COMMENT ON COLUMN leases.expires IS
'When another process may take it, by the clock of the database.';

COMMENT ON COLUMN deployments.position IS
'Place in the list, from 1 without a gap: a page is looked up by it, the largest tells how many. '
'Drawn under projects/lock_deployment_positions.';
COMMENT ON COLUMN projects.position IS
'Place in the list, from 1 without a gap: a page is looked up by it, the largest tells how many. '
'Drawn under projects/lock_project_positions.';
