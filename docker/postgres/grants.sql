-- What each service may do; run after each migration, from migrations/grants.
\set ON_ERROR_STOP on

\set role rowlock_commerce
\i commerce.sql
\set role rowlock_projects
\i projects.sql
\set role rowlock_console
\i console.sql

\connect rowlock_events
\set role rowlock_events
\i events.sql
\set role rowlock_console
\i console_events.sql
