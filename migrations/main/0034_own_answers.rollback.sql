ALTER TABLE idempotency_keys DISABLE ROW LEVEL SECURITY;
DROP POLICY granted ON idempotency_keys;
