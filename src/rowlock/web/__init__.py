"""What the services share: the application factory, access, errors, bodies, pages and health."""
