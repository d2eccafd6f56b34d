"""One module a read model: its fold, its SQL and its queries."""
