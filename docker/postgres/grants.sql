-- What each service may do; run after each migration, from migrations/grants.
\set ON_ERROR_STOP on

\set role rowlock_commerce
\i commerce.sql
\set role rowlock_projects
\i projects.sql

\connect rowlock_events
\set role rowlock_events
\i events.sql
