-- Run once, as the server's data directory is made. What the roles may do comes with grants.sql.
\getenv commerce_password COMMERCE_PASSWORD
\getenv projects_password PROJECTS_PASSWORD
\getenv events_password EVENTS_PASSWORD
\getenv console_password CONSOLE_PASSWORD

CREATE DATABASE rowlock_events;
REVOKE ALL ON DATABASE rowlock, rowlock_events FROM PUBLIC;

CREATE ROLE rowlock_commerce LOGIN PASSWORD :'commerce_password';
CREATE ROLE rowlock_projects LOGIN PASSWORD :'projects_password';
CREATE ROLE rowlock_events LOGIN PASSWORD :'events_password';
CREATE ROLE rowlock_console LOGIN PASSWORD :'console_password';
