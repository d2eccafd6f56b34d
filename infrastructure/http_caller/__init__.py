"""Makes the HTTP calls."""
