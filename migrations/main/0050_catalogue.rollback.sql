DROP TRIGGER services_renamed ON services;
DROP FUNCTION count_service_renames();
ALTER TABLE services DROP COLUMN created_at, DROP COLUMN retired_at, DROP COLUMN renames;
ALTER TABLE products DROP COLUMN created_at, DROP COLUMN retired_at;
