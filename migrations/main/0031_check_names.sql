-- What 0029_names_and_ids has left unchecked.
-- depends: 0030_name_indexes

ALTER TABLE deployments VALIDATE CONSTRAINT deployments_branch_check;
ALTER TABLE deployments VALIDATE CONSTRAINT deployments_commit_check;
ALTER TABLE deployments VALIDATE CONSTRAINT deployments_reason_check;
ALTER TABLE users VALIDATE CONSTRAINT users_name_key_check;
ALTER TABLE users VALIDATE CONSTRAINT users_email_key_check;
ALTER TABLE projects VALIDATE CONSTRAINT projects_previous_secret_check;
