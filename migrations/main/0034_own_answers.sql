-- A role sees the kept answers of its own service only, once migrations/grants has said which those
-- are. Until then, and for roles of release 0.1.0, the grants alone decide, as before.
-- depends: 0032_name_spaces

CREATE POLICY granted ON idempotency_keys USING (true);
COMMENT ON POLICY granted ON idempotency_keys IS
'Who has grants sees the rows, as far as the restrictive policy of the role allows.';

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
