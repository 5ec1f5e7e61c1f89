"""Users and their ledger: the only place where money moves."""
