"""What every service has of HTTP: requests in, answers out, and what operators ask for."""
