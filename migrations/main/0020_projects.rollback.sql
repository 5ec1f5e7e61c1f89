DROP TABLE webhook_messages;
DROP TABLE deployments;
DROP TABLE projects;
