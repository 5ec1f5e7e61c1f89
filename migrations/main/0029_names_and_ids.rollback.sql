ALTER TABLE projects DROP COLUMN previous_secret, DROP COLUMN previous_secret_until;
ALTER TABLE users DROP COLUMN name_key, DROP COLUMN email_key;
DROP TRIGGER deployments_moved ON deployments;
DROP FUNCTION note_deployment_move();
ALTER TABLE deployments
DROP CONSTRAINT deployments_reason_check,
DROP COLUMN branch,
DROP COLUMN commit,
DROP COLUMN reason,
DROP COLUMN moved_at;
DROP TRIGGER service_orders_gone ON service_orders;
DROP FUNCTION remember_gone_service_orders();
DROP TABLE gone_service_orders;
